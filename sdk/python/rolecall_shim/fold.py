"""A bounded table of different calls and how often each was made since it was last told of."""

from collections import OrderedDict

from rolecall_shim.line import call_line

LIMIT = 4096
COUNT_MAX = 1000000000


class Entry:
    """One different call. `count` calls of it have not been told yet."""

    __slots__ = ("call", "count", "first", "last", "latency", "request_id", "id_member", "told")

    def __init__(self, call):
        self.call = call
        self.count = 0
        self.told = False

    def add(self, began, latency, request_id, id_member):
        if self.count == 0:
            self.first = began
            self.latency = latency
            self.request_id = request_id
            self.id_member = id_member
        elif latency > self.latency:
            self.latency = latency
        self.last = began
        self.count += 1


class Fold:
    """Entries that wait to be told, and entries that have been told, of which the oldest makes room."""

    def __init__(self):
        self.table = {}
        self.waiting = {}
        self.idle = OrderedDict()

    def add(self, entry, began, latency, request_id, id_member):
        """One more call of an entry of the table."""
        if entry.count == 0:
            self.idle.pop(entry.call, None)
            self.waiting[entry.call] = entry
        entry.add(began, latency, request_id, id_member)

    def keep(self, entry):
        """Takes a new entry in, in the place of the oldest that has nothing to tell; whether there was room."""
        if len(self.table) >= LIMIT:
            if not self.idle:
                return False
            oldest, _ = self.idle.popitem(last=False)
            del self.table[oldest]
        self.table[entry.call] = entry
        (self.waiting if entry.count else self.idle)[entry.call] = entry
        return True

    def tell(self, entry, sender, lost, mistake):
        """Tries to send an entry's line. `True`: it is settled, told or lost; `False`: it waits on."""
        try:
            data = call_line(entry)
            if data is not None and not sender.offer(data):
                return False
        except Exception:
            # Not raised: whoever catches it would count the call as lost once more.
            self.settle(entry, lost, "error")
            mistake()
            return True
        self.settle(entry, lost, "long" if data is None else None)
        return True

    def settle(self, entry, lost, reason):
        """Nothing of the entry waits any more: it was told, or lost for a reason."""
        if reason is not None:
            lost[reason] = lost.get(reason, 0) + entry.count
        entry.count = 0
        entry.told = True
        if self.waiting.pop(entry.call, None) is not None:
            self.idle[entry.call] = entry

    def forget(self):
        """Empties the table; how many calls had not been told of."""
        untold = 0
        for entry in self.waiting.values():
            untold += entry.count
            entry.count = 0
        self.__init__()
        return untold
