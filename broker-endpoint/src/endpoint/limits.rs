use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

/// How many of something may exist, in total and for each address.
#[derive(Debug)]
pub(crate) struct Limit {
    total_max: usize,
    per_address_max: usize,
    taken: Mutex<HashMap<IpAddr, usize>>,
}

/// One of them, until it is dropped.
#[derive(Debug)]
pub(crate) struct Slot {
    limit: Arc<Limit>,
    address: IpAddr,
}

/// Which limit is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Full {
    Total,
    Address,
}

impl Limit {
    pub(crate) fn new(total_max: usize, per_address_max: usize) -> Arc<Self> {
        Arc::new(Self {
            total_max,
            per_address_max,
            taken: Mutex::default(),
        })
    }

    pub(crate) fn take(self: &Arc<Self>, address: IpAddr) -> Result<Slot, Full> {
        let address = address.to_canonical();
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        // At most some thousand entries, and a connection costs far more than this sum.
        if taken.values().sum::<usize>() >= self.total_max {
            return Err(Full::Total);
        }
        if taken.get(&address).copied().unwrap_or_default() >= self.per_address_max {
            return Err(Full::Address);
        }
        *taken.entry(address).or_default() += 1;
        Ok(Slot {
            limit: Arc::clone(self),
            address,
        })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut taken = self.limit.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = taken.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_counted_in_total_and_by_address_and_given_back() {
        let limit = Limit::new(3, 2);
        let [a, b, c] = ["192.0.2.1", "::ffff:192.0.2.1", "2001:db8::1"].map(|text| text.parse().unwrap());
        let first = limit.take(a).unwrap();
        let _second = limit.take(b).unwrap();
        assert_eq!(
            limit.take(a).unwrap_err(),
            Full::Address,
            "a mapped address is the same"
        );
        let third = limit.take(c).unwrap();
        assert_eq!(limit.take(c).unwrap_err(), Full::Total);
        drop(first);
        drop(third);
        let _fourth = limit.take(a).unwrap();
        assert_eq!(limit.take(a).unwrap_err(), Full::Address);
        limit.take(c).unwrap();
        assert_eq!(
            limit.taken.lock().unwrap().len(),
            1,
            "addresses without slots are forgotten"
        );
    }
}
