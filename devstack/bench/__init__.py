"""Our figures, each beside a peer or the bare call, measured in the same run. On a busy machine CPU per request holds; times do not."""
