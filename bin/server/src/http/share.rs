//! How many connections one address may hold.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

use super::rate::neighbourhood;

/// How many connections each address holds; whoever holds none is not in it.
type Held = Arc<Mutex<BTreeMap<IpAddr, u64>>>;

/// The connections of one door, by address.
#[derive(Debug)]
pub(super) struct Shares {
    most: u64,
    held: Held,
}

/// One connection of an address, as long as this lives.
#[derive(Debug)]
pub(super) struct Share {
    address: IpAddr,
    held: Held,
}

impl Shares {
    /// At most so many for each address.
    pub(super) fn new(most: u64) -> Self {
        Self { most, held: Held::default() }
    }

    /// One more for an address; nothing where it holds as many as it may.
    pub(super) fn take(&self, address: IpAddr) -> Option<Share> {
        let address = neighbourhood(address);
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let count = held.entry(address).or_default();
        if *count >= self.most {
            return None;
        }
        *count += 1;
        Some(Share { address, held: Arc::clone(&self.held) })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if let Entry::Occupied(mut count) = held.entry(self.address) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_holds_its_share_and_leaves_nothing_behind() {
        let shares = Shares::new(2);
        let take = |address: &str| shares.take(address.parse().unwrap());
        let (first, second) = (take("192.0.2.1"), take("::ffff:192.0.2.1"));
        assert!(first.is_some() && second.is_some());
        assert!(take("192.0.2.1").is_none());
        let other = take("192.0.2.2");
        assert!(other.is_some());
        drop(first);
        let third = take("192.0.2.1");
        assert!(third.is_some());
        assert!(take("192.0.2.1").is_none());
        drop((second, third, other));
        assert!(shares.held.lock().unwrap().is_empty());
    }

    #[test]
    fn the_addresses_of_one_network_have_one_share() {
        let shares = Shares::new(1);
        let take = |address: &str| shares.take(address.parse().unwrap());
        let first = take("2001:db8::1");
        assert!(first.is_some());
        assert!(take("2001:db8::2").is_none());
        assert!(take("2001:db8:0:1::1").is_some());
    }
}
