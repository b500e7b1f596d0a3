//! Our own supervision: nodes without `zeek -j` and without Zeek's management scripts. What decides is here, without processes; what
//! starts and ends them gets an [`Order`] and tells [`News`].

mod order;

pub use self::order::{End, Launch, Limits, Needs, News, Order};
