"""The commands that the engine adds to fakeredis' or answers differently, as mixins of its sockets."""
