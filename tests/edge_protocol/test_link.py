"""One contract, four transports: in memory, the embedded broker by either version of MQTT, and mosquitto."""

import pytest

from edge_protocol.link import EVERYTHING, Hearing
from edge_protocol.loopback import LoopbackBroker, LoopbackLink
from edge_protocol.mqtt import MqttLink
from tests.edge_protocol.brokers import EmbeddedBroker, Mosquitto
from tests.edge_protocol.link_contract import LinkContract
from tests.edge_protocol.proxy import Proxy


class LoopbackRig:
    """Links in memory."""

    def __init__(self) -> None:
        self._broker = LoopbackBroker()
        self.cut, self.restore, self.restart = self._broker.cut, self._broker.restore, self._broker.restart

    def link(
        self, client_id: str, will: tuple[str, bytes] | None = None, window: int = 16, hear: Hearing = EVERYTHING
    ) -> LoopbackLink:
        """A link, not yet started."""
        return self._broker.link(client_id, will, window=window, hear=hear)

    def freeze(self, _client_id: str) -> None:
        """Let the broker's answers to one link stop."""
        self._broker.freeze()

    def thaw(self, _client_id: str) -> None:
        """Let them come."""
        self._broker.thaw()


class MqttRig:
    """Links to a real broker, each through a proxy of its own."""

    def __init__(self, broker: EmbeddedBroker | Mosquitto, version: str) -> None:
        self._broker, self.version = broker, version
        self._proxies: dict[str, Proxy] = {}
        self.restart = broker.restart

    def link(
        self, client_id: str, will: tuple[str, bytes] | None = None, window: int = 16, hear: Hearing = EVERYTHING
    ) -> MqttLink:
        """A link, not yet started."""
        proxy = self._proxies[client_id] = Proxy(self._broker.ports[self.version])
        url = f"mqtt://127.0.0.1:{proxy.port}"
        return MqttLink(url, client_id, will=will, window=window, hear=hear, backoff_s=(0.02, 0.2))

    def cut(self, client_id: str) -> None:
        """Break the network to one link."""
        self._proxies[client_id].cut()

    def restore(self, client_id: str) -> None:
        """Mend it."""
        self._proxies[client_id].restore()

    def freeze(self, client_id: str) -> None:
        """Let the broker's answers to one link stop."""
        self._proxies[client_id].freeze()

    def thaw(self, client_id: str) -> None:
        """Let them come."""
        self._proxies[client_id].thaw()

    def close(self) -> None:
        """Take all proxies away."""
        for proxy in self._proxies.values():
            proxy.close()


@pytest.fixture(scope="module")
def embedded(tmp_path_factory):
    """The embedded broker, one for all tests of this file."""
    broker = EmbeddedBroker(tmp_path_factory.mktemp("embedded"))
    yield broker
    broker.close()


@pytest.fixture(scope="module")
def site_broker(mosquitto, tmp_path_factory):
    """mosquitto, one for all tests of this file."""
    broker = Mosquitto(mosquitto, tmp_path_factory.mktemp("mosquitto"))
    yield broker
    broker.close()


class TestLoopback(LinkContract):
    """Links in memory keep the contract."""

    @pytest.fixture
    def rig(self):
        """Links of this kind."""
        return LoopbackRig()


class TestEmbedded5(LinkContract):
    """MQTT 5 on the embedded broker keeps the contract."""

    version = "5"

    @pytest.fixture
    def rig(self, embedded):
        """Links of this kind."""
        rig = MqttRig(embedded, self.version)
        yield rig
        rig.close()

    def test_the_version_is_the_brokers(self, party):
        """The link speaks MQTT 5 where the broker does, and 3.1.1 where it must."""
        assert party().link.version == self.version


class TestEmbedded311(TestEmbedded5):
    """A broker that closes on MQTT 5 is spoken to in 3.1.1 and the contract is kept."""

    version = "3.1.1"


@pytest.mark.broker
class TestMosquitto(LinkContract):
    """MQTT 5 on mosquitto keeps the contract."""

    @pytest.fixture
    def rig(self, site_broker):
        """Links of this kind."""
        rig = MqttRig(site_broker, "5")
        yield rig
        rig.close()
