//! What the pages for operators say, against what the programs do.

mod clock;
mod site;
mod status;
