//! HTTP for operators, on the daemon's control socket.
//!
//! ```text
//!   connection --> axum's routes --> Operator::asks --> Operators::next --> the daemon's loop --> core
//!              <-- JSON, Problem <--           <-- Operators::answer <--
//! ```
//!
//! What is asked goes to the core like what comes any other way; routes translate, and decide nothing. Who may open the socket may ask for
//! everything: its mode says who, the daemon's own user and root.
//!
//! Limits: [`CONNECTIONS_MAX`](socket::CONNECTIONS_MAX) connections at a time, the others wait; a request's head and body, and the time that
//! a connection may last ([`socket`]); [`REQUESTS_MAX`](door::REQUESTS_MAX) requests on their way to the
//! core, further ones wait.

mod answer;
mod door;
mod socket;
mod watch;

pub use axum;

pub use self::{
    answer::{Answer, Outcome, Problem, read},
    door::{Asked, Door, Operator, Operators},
    socket::Lasting,
    watch::Watch,
};
