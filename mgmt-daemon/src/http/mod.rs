//! HTTP for operators: on the daemon's control socket, and over TCP if that is configured.
//!
//! ```text
//!   connection --> who asks --> axum's routes --> Operator::asks --> Operators::next --> the daemon's loop --> core
//!              <-- JSON, Problem <--           <-- Operators::answer <--
//! ```
//!
//! What is asked goes to the core like what comes any other way; routes translate, and decide nothing. The daemon's own user and root may ask for
//! everything on the control socket, and a group, if one is configured, for what its role allows. Over TCP each request shows a token or a certificate ([`admit`]); what it may with the
//! role that it has is for the core to decide, and for [`own`] and [`watch`] where the core is not asked.
//!
//! Limits: [`CONNECTIONS_MAX`](socket::CONNECTIONS_MAX) connections to the socket at a time, the others wait, or are closed if they are of the group's users, who have some of these; over TCP those of [`tcp`]; a request's
//! head and body, and the time that a connection may last ([`connection`]); what one may have under way ([`under_way`]); [`REQUESTS_MAX`](door::REQUESTS_MAX) requests on their way to the
//! core, further ones wait.

mod admit;
mod answer;
mod audited;
mod bodies;
mod connection;
mod document;
mod door;
mod exchange;
mod guard;
mod note;
mod own;
mod routes;
mod shares;
mod socket;
mod stranger;
mod tcp;
mod under_way;
mod watch;

pub use axum;
pub use utoipa;
pub use utoipa_axum;

pub use self::{
    answer::{Answer, Outcome, Problem, query, read, read_body},
    connection::Lasting,
    door::{Asked, Door, Operator, Operators, Shared},
    exchange::exchange,
    note::Note,
    routes::{Routes, route},
    shares::{Share, Shares},
    stranger::Stranger,
    watch::Watch,
};
