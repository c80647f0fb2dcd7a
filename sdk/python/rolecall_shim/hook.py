"""Patches botocore, and catches everything: no mistake of the shim reaches the program.

A call's note travels in a context variable, which threads and coroutines each have of their own. botocore itself writes
into it, by three functions that it calls for each request:

- `_emit_api_params` has the input as it will be sent, after the resources of boto3 have made texts of their expressions;
- `RequestSigner.sign` has the request, and so the host;
- `RequestSigner.get_auth_instance` has the credentials, and so the key's id. The secret beside it is not touched.
"""

import functools
import sys
import time
from contextvars import ContextVar

from rolecall_shim.call import Call, answer_of, host_of
from rolecall_shim.parameters import Plan
from rolecall_shim.shim import SHIM

NOTE = ContextVar("rolecall_shim.note", default=None)
PLANS = {}
# A program that makes models of its own could have any number of them.
PLANS_MAX = 4096
# A named tuple's own constructor takes three times as long.
new = tuple.__new__


class Note:
    """What is learnt of a call while it is made."""

    __slots__ = ("token", "began", "clock", "plan", "told", "request", "key")


def begin(client, operation):
    """A note for a call that begins now."""
    note = Note()
    note.plan = plan_of(client, operation)
    note.told = note.request = note.key = None
    note.token = NOTE.set(note)
    note.began = time.time()
    note.clock = time.perf_counter()
    return note


def plan_of(client, operation):
    model = client._service_model if hasattr(client, "_service_model") else client.meta.service_model
    which = (model.service_id, model.api_version, operation)
    plan = PLANS.get(which)
    if plan is None:
        if len(PLANS) >= PLANS_MAX:
            PLANS.clear()
        plan = PLANS[which] = Plan(str(model.service_id), model.operation_model(operation).input_shape)
    return plan


def finish(note, client, operation, parsed, error):
    """Makes of the note what is told, unless nothing was sent: bad parameters, a stub that answers in the program."""
    latency = time.perf_counter() - note.clock
    release(note)
    request = note.request
    if request is None:
        return
    status = code = exception = request_id = None
    id_member = "XAmznRequestId"
    if error is not None:
        parsed = getattr(error, "response", None)
        if not isinstance(parsed, dict):
            parsed, exception = None, type(error).__name__
    if parsed is not None:
        status, code, request_id, id_member = answer_of(parsed)
    call = new(Call, (
        "ApiCall", note.plan.service, operation, client.meta.region_name,
        host_of(request.url), note.key, status, code, exception, note.told or (),
    ))  # fmt: skip
    SHIM.record(call, int(note.began * 1000), int(latency * 1000), request_id, id_member)


def finish_presign(note, client, operation, url):
    """A URL was signed. Of it nothing is told but its host."""
    release(note)
    call = Call(
        "Presign", note.plan.service, operation, client.meta.region_name,
        host_of(url), note.key, None, None, None, note.told or (),
    )  # fmt: skip
    latency = time.perf_counter() - note.clock
    SHIM.record(call, int(note.began * 1000), int(latency * 1000), None, "XAmznRequestId")


def release(note):
    try:
        NOTE.reset(note.token)
    except ValueError:
        NOTE.set(None)  # A coroutine that is closed from another context: the variable there was never ours.


def begun(client, operation):
    """`begin`, or nothing if that fails."""
    try:
        return begin(client, operation) if SHIM.wanted() else None
    except Exception:
        # Whether it would have been a call is not known; one that cannot be told of is better counted than not.
        SHIM.mistake(lost_call=True)
        return None


def finished(note, how, *args):
    """`how(note, …)`, whatever comes of it."""
    if note is None:
        return
    try:
        how(note, *args)
    except Exception:
        SHIM.mistake(lost_call=True)


def calls(own):
    """Around `_make_api_call`."""

    @functools.wraps(own)
    def _make_api_call(self, operation_name, *args, **kwargs):
        note = begun(self, operation_name)
        try:
            parsed = own(self, operation_name, *args, **kwargs)
        except BaseException as error:
            finished(note, finish, self, operation_name, None, error)
            raise
        finished(note, finish, self, operation_name, parsed, None)
        return parsed

    return _make_api_call


def async_calls(own):
    """Around aiobotocore's `_make_api_call`."""

    @functools.wraps(own)
    async def _make_api_call(self, operation_name, *args, **kwargs):
        note = begun(self, operation_name)
        try:
            parsed = await own(self, operation_name, *args, **kwargs)
        except BaseException as error:
            finished(note, finish, self, operation_name, None, error)
            raise
        finished(note, finish, self, operation_name, parsed, None)
        return parsed

    return _make_api_call


def note_input(params):
    note = NOTE.get()
    if note is not None and note.told is None:
        try:
            note.told = note.plan.read(params)
        except Exception:
            SHIM.mistake()


def inputs(own):
    @functools.wraps(own)
    def _emit_api_params(self, *args, **kwargs):
        params = own(self, *args, **kwargs)
        note_input(params)
        return params

    return _emit_api_params


def async_inputs(own):
    @functools.wraps(own)
    async def _emit_api_params(self, *args, **kwargs):
        params = await own(self, *args, **kwargs)
        note_input(params)
        return params

    return _emit_api_params


def requests(own):
    """Around `sign`; a coroutine's is as well, for nothing is waited for before it begins."""

    @functools.wraps(own)
    def sign(self, operation_name, request, *args, **kwargs):
        note = NOTE.get()
        if note is not None:
            note.request = request
        return own(self, operation_name, request, *args, **kwargs)

    return sign


def note_key(auth):
    note = NOTE.get()
    if note is not None:
        # Not every signer has credentials, and those of one without a key are `None`.
        note.key = getattr(getattr(auth, "credentials", None), "access_key", None)


def keys(own):
    @functools.wraps(own)
    def get_auth_instance(self, *args, **kwargs):
        auth = own(self, *args, **kwargs)
        note_key(auth)
        return auth

    return get_auth_instance


def async_keys(own):
    @functools.wraps(own)
    async def get_auth_instance(self, *args, **kwargs):
        auth = await own(self, *args, **kwargs)
        note_key(auth)
        return auth

    return get_auth_instance


def presigns(own):
    """Around `generate_presigned_url`, as clients get it."""

    @functools.wraps(own)
    def generate_presigned_url(self, ClientMethod, *args, **kwargs):
        operation, note = presign_started(self, ClientMethod)
        try:
            url = own(self, ClientMethod, *args, **kwargs)
        except BaseException:
            finished(note, release)
            raise
        finished(note, finish_presign, self, operation, url)
        return url

    return generate_presigned_url


def async_presigns(own):
    @functools.wraps(own)
    async def generate_presigned_url(self, ClientMethod, *args, **kwargs):
        operation, note = presign_started(self, ClientMethod)
        try:
            url = await own(self, ClientMethod, *args, **kwargs)
        except BaseException:
            finished(note, release)
            raise
        finished(note, finish_presign, self, operation, url)
        return url

    return generate_presigned_url


def presign_started(client, method):
    """The operation that a client's method stands for, and a note; nothing for a method that is none."""
    try:
        operation = client._PY_TO_OP_NAME.get(method)
        return (operation, begun(client, operation)) if operation else (None, None)
    except Exception:
        SHIM.mistake()
        return None, None


def post_started(client, bucket, key):
    """A note of a signed form, which is for one `PutObject`. botocore asks the model of another operation about it."""
    note = begun(client, "PutObject")
    if note is not None:
        try:
            note.told = note.plan.read({"Bucket": bucket, "Key": key})
        except Exception:
            SHIM.mistake()
    return note


def post_finished(note, client, form):
    finish_presign(note, client, "PutObject", form["url"])


def posts(own):
    """Around `generate_presigned_post`."""

    @functools.wraps(own)
    def generate_presigned_post(self, Bucket, Key, *args, **kwargs):
        note = post_started(self, Bucket, Key)
        try:
            form = own(self, Bucket, Key, *args, **kwargs)
        except BaseException:
            finished(note, release)
            raise
        finished(note, post_finished, self, form)
        return form

    return generate_presigned_post


def async_posts(own):
    @functools.wraps(own)
    async def generate_presigned_post(self, Bucket, Key, *args, **kwargs):
        note = post_started(self, Bucket, Key)
        try:
            form = await own(self, Bucket, Key, *args, **kwargs)
        except BaseException:
            finished(note, release)
            raise
        finished(note, post_finished, self, form)
        return form

    return generate_presigned_post


def replace(owner, name, around):
    """Replaces a function by the one around it, once. A class that has inherited it is left alone."""
    own = vars(owner).get(name)
    if own is not None and not hasattr(own, "_rolecall_shim"):
        made = around(own)
        made._rolecall_shim = True
        setattr(owner, name, made)


def patch(module):
    """Patches the client of `botocore.client` or `aiobotocore.client`, which has been imported."""
    if SHIM.off:
        return
    if module == "botocore.client":
        client, signers = sys.modules[module].BaseClient, sys.modules["botocore.signers"]
        replace(signers.RequestSigner, "sign", requests)
        replace(signers.RequestSigner, "get_auth_instance", keys)
        replace(client, "_emit_api_params", inputs)
        replace(signers, "generate_presigned_url", presigns)
        replace(signers, "generate_presigned_post", posts)
        replace(client, "_make_api_call", calls)
    else:
        client, signers = sys.modules[module].AioBaseClient, sys.modules["aiobotocore.signers"]
        replace(signers.AioRequestSigner, "sign", requests)
        replace(signers.AioRequestSigner, "get_auth_instance", async_keys)
        replace(client, "_emit_api_params", async_inputs)
        replace(signers, "generate_presigned_url", async_presigns)
        replace(signers, "generate_presigned_post", async_posts)
        replace(client, "_make_api_call", async_calls)
