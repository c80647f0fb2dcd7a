//! Container labels from the Docker Engine API over its unix socket.
