use std::collections::BTreeSet;

/// Which of those that subscribed to a topic get what is published there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recipients<T> {
    /// These, as far as they subscribed.
    Only(BTreeSet<T>),
    /// All who subscribed, without these.
    Except(BTreeSet<T>),
}

impl<T: Ord> Recipients<T> {
    pub const fn all() -> Self {
        Self::Except(BTreeSet::new())
    }

    /// One, if it subscribed.
    pub fn one(recipient: T) -> Self {
        Self::Only(BTreeSet::from([recipient]))
    }

    /// Whether this one may get it.
    pub fn include(&self, recipient: &T) -> bool {
        match self {
            Self::Only(recipients) => recipients.contains(recipient),
            Self::Except(recipients) => !recipients.contains(recipient),
        }
    }
}
