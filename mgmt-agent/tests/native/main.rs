//! Nodes as children of the agent, with real processes: small shell programs, launched by the agent's own program.

mod launcher;
mod nodes;
mod world;
