crate::counter::counters! {
    /// What an [`Endpoint`](super::Endpoint) has seen since its start.
    #[derive(Copy)]
    EndpointCounters {
        /// Accepted connections whose handshake began.
        accepted,
        /// Accepted connections closed before their handshake began, because there were too many.
        refused,
        /// Times that accepting failed, for example for want of file descriptors.
        accept_errors,
        /// Accepted connections that did not become a peering, redundant ones included.
        accept_failures,
        /// Attempts to connect that did not become a peering.
        connect_failures,
        /// Peerings established.
        peers_added,
        /// Peerings ended without our doing.
        peers_lost,
        /// Peerings that we ended.
        peers_removed,
        /// Messages received, good or bad, with control messages.
        messages_in,
        /// Bytes of these.
        bytes_in,
        /// Messages handed to the system for sending.
        messages_out,
        /// Bytes of these.
        bytes_out,
        /// Messages received and refused: malformed, or for or from another endpoint.
        rejected,
        /// Log messages and identifier updates received and dropped unread.
        ignored,
        /// Messages of ours dropped because a peer reads too slowly.
        overflowed,
        /// Messages of ours for one peer that was not there.
        undeliverable,
        /// Connection tasks that panicked.
        panics,
    }
}
