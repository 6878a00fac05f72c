"""The places of a client network; tests/security/test_admission_live.py has real connections."""

from edge.places import Places


class Client:
    """A connection that waits for its client, or not."""

    def __init__(self, waits):
        self.waits, self.ended = waits, False

    def hang_up(self):
        self.ended = True


def test_a_new_connection_replaces_the_oldest_that_waits_for_its_client():
    connections = Places("connections")
    busy, oldest, younger, new = Client(False), Client(True), Client(True), Client(True)
    assert all(connections.add("a", client, client, 3) for client in (busy, oldest, younger, new))
    assert [client.ended for client in (busy, oldest, younger, new)] == [False, True, False, False]


def test_connections_in_use_are_not_replaced():
    connections = Places("connections")
    busy = [Client(False), Client(False)]
    assert all(connections.add("a", client, client, 2) for client in busy)
    new = Client(True)
    assert not connections.add("a", new, new, 2)
    assert connections.add("b", "other", Client(True), 2), "another network"
    connections.remove("a", new)
    connections.remove("a", busy[0])
    assert connections.add("a", new, new, 2)


def test_a_limit_of_zero_is_off_and_nothing_is_kept_of_closed_connections():
    connections, clients = Places("connections"), [Client(True) for _ in range(9)]
    assert all(connections.add("a", client, client, 0) for client in clients)
    for client in clients:
        connections.remove("a", client)
    assert connections.open == {}
