"""Our figures, each beside a peer or the bare call, measured in the same run. Ratios hold on a noisy machine; times do not."""
