//! Commands between data stores (`internal_command.hh`). We hold no store of Broker's: a command is read to show it
//! or to know that it is one, and then ignored.
