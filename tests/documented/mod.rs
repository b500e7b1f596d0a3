//! What the pages for operators say, against what the programs do.

pub(crate) mod blocks;
mod clock;
mod commands;
mod readme;
mod said;
mod scenes;
mod shown;
mod site;
mod status;
mod symptoms;
mod table;
