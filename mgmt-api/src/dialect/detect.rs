//! What an event gives away about its sender.

use broker_codec::zeek::Event;

use super::api::Dialect;

/// What can be concluded from an event about the dialect of its sender, if that was thought to be `before`. `None` if
/// nothing can.
///
/// It is one that has an event of this name, with arguments as they were sent if there is one. Of several it is the one that was thought, else
/// a released one, the latest first: 4.2 and 7.0 for most. An agent of the seed's API would have said its hello before, so that others
/// are of 5.0.0-rc1; a controller or client is of the seed's.
pub(super) fn detect(event: &Event, before: Dialect) -> Option<Dialect> {
    let admits = |dialect: &Dialect| {
        let found = dialect.event(&event.name);
        found.is_some_and(|found| found.admits(&event.args))
    };
    if admits(&before) || !event.name.as_str()?.contains("::API::") {
        return None;
    }
    let is_request = event.name.ends_with(b"_request");
    let order = |dialect: &Dialect| match dialect {
        dialect if *dialect == before => 0,
        Dialect::V5_0Rc1 if before == Dialect::Seed => 1,
        Dialect::V7_0 => 2,
        Dialect::V5_0 => 3,
        Dialect::V4_2 => 4,
        Dialect::V5_0Rc1 if !is_request => 5,
        Dialect::Seed => 6,
        Dialect::V5_0Rc1 => 7,
        Dialect::PreSeed => 8,
        Dialect::V4_1 => 9,
    };
    let mut candidates = Dialect::ALL;
    candidates.sort_by_key(order);
    let find = |is: &dyn Fn(&Dialect) -> bool| candidates.into_iter().find(is);
    // Otherwise it is an error of the sender, who is told in the words of its API.
    let is_named = |dialect: &Dialect| dialect.has_event(&event.name);
    let of_cluster = event.name.starts_with(b"Cluster");
    let is_module = |dialect: &Dialect| dialect.is_cluster_controller() == of_cluster;
    find(&admits)
        .or_else(|| find(&is_named))
        .or_else(|| find(&is_module))
}
