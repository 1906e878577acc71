"""The settings: what is refused, how it is told, and that the document in the manifest says what the code does."""

import re
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest
import yaml

from floatingip.core.model import Carry
from floatingip.core.settings import CONVICTION_SPAN, MOST_ADDRESSES, lost_probes_span, mark_values
from tests.core.loading import Load, Overfull, Problems

MANIFEST = Path(__file__).parents[2] / "floating-ip.yaml"

DEFAULTS = {
    "name": "",
    "carry": Carry.ENI,
    "port": 9807,
    "probe_interval": 0.25,
    "probe_fast_interval": 0.1,
    "probe_timeout": 0.15,
    "rise": 2,
    "fall": 11,
    "service": "auto",
    "service_interval": 1.0,
    "service_timeout": 1.0,
    "service_rise": 2,
    "service_fall": 5,
    "settle": 60.0,
    "patience": 30.0,
    "force_after": 5.0,
    "ec2_timeout": 20.0,
    "security_groups": (),
    "device_index": 1,
    "mark": 0x70,
    "table": 840,
    "priority": 900,
    "log": "logfmt",
}


def test_an_empty_document_means_the_defaults(loaded: Load) -> None:
    """Every setting but the address is optional."""
    settings = loaded()
    assert settings.floating_ips == (IPv4Address("10.0.0.100"),)
    assert {name: getattr(settings, name) for name in DEFAULTS} == DEFAULTS


def test_the_effective_settings_name_every_one(loaded: Load) -> None:
    """What is logged at the start leaves nothing out."""
    effective = loaded(
        "security_groups: [sg-0123abcd, sg-1123abcd]", address="10.0.0.100,eipalloc-0123abcd"
    ).effective()
    assert set(effective) == {"floating_ips", *DEFAULTS}
    assert effective["floating_ips"] == "10.0.0.100,eipalloc-0123abcd"
    assert effective["security_groups"] == "sg-0123abcd,sg-1123abcd"
    assert effective["mark"] == "0x70", "as it is written in the document"


GOOD: dict[str, tuple[object, ...]] = {
    "name": ("my-cluster",),
    "port": (1, 29999),
    "probe_interval": (10,),
    "probe_fast_interval": (0.1,),
    "probe_timeout": (10,),
    "rise": (1, 100),
    "fall": (100,),
    "carry": ("address",),
    "service": ("tcp:30007", "http:65535/healthz?full=1"),
    "service_interval": (0.1,),
    "service_timeout": (60,),
    "service_rise": (1,),
    "service_fall": (100,),
    "settle": (3600,),
    "patience": (1,),
    "force_after": (3, 600),
    "ec2_timeout": (5, 120),
    "device_index": (1, 15),
    "mark": (0x20, 0x80000000),
    "table": (1000,),
    "priority": (513, 1022),
}


@pytest.mark.parametrize(("key", "value"), [(key, value) for key, values in GOOD.items() for value in values])
def test_a_value_within_its_limits_is_taken(loaded: Load, key: str, value: object) -> None:
    """The limits themselves are allowed."""
    assert getattr(loaded(f"{key}: {value}"), key) == value


def test_whole_seconds_become_floats(loaded: Load) -> None:
    """`settle: 60` and `settle: 60.0` are the same setting, in the log too."""
    settings = loaded("settle: 90\nprobe_interval: 1")
    assert isinstance(settings.settle, float)
    assert isinstance(settings.probe_interval, float)


BAD = {
    "name": ("''", "7", "[a]", "' padded '", '"two\\nlines"', "x" * 129, "prod*", "pr?d", "prod\\*"),
    "port": ("0", "30007", "9807.5", "'9807'", "true"),
    "probe_interval": ("0", "-1", "true", "fast", ".nan", ".inf"),
    "probe_fast_interval": ("0.01",),
    "probe_timeout": ("11",),
    "rise": ("0", "2.0", "true"),
    "fall": ("0", "101", "true"),
    "settle": ("4.9", "true"),
    "patience": ("0", "null"),
    "force_after": ("2.9",),
    "ec2_timeout": ("4.9",),
    "security_groups": (
        *("sg-1", "[default]", "['sg-; rm -rf']", "[sg-]", "[sg-0123ABCD]", "[sg-0123456789]", "[sg-0123abcd, null]"),
        *("[sg-0123abcd, sg-0123abcd]", "[7]", "{sg-1: x}", "null"),
    ),
    "device_index": ("0", "16", "true"),
    "mark": ("0", "-1", "'0x40'", "true", "0x100000000"),
    "table": ("0", "255", "254", "253", "true"),
    "priority": ("512", "1023", "true"),
}


@pytest.mark.parametrize(("key", "text"), [(key, text) for key, texts in BAD.items() for text in texts])
def test_a_bad_value_is_told_with_its_setting_value_and_file(
    problems: Problems, tmp_path: Path, key: str, text: str
) -> None:
    """One line, which says where to look and what should be there."""
    (line,) = problems(f"{key}: {text}")
    assert line.startswith(f"{key}: {yaml.safe_load(text)!r} in {tmp_path / 'settings.yaml'} should be ")


@pytest.mark.parametrize("foreign", ["0x80", "0x4000", "0x8000", "0xc000", "0xc0", "0x40c0"])
def test_mark_bits_of_the_cni_and_kube_proxy_are_refused(problems: Problems, foreign: str) -> None:
    """Sharing a bit with them would send their packets by our table, or ours by theirs."""
    (line,) = problems(f"mark: {foreign}")
    theirs = int(foreign, 16) & (0x80 | 0xC000)
    assert f"{theirs:#x} belongs to the VPC CNI or kube-proxy" in line


def test_an_unknown_setting_is_told_with_the_known_ones(problems: Problems) -> None:
    """A misspelt setting must not be passed over in silence."""
    (line,) = problems("probe_intervall: 1")
    assert line.startswith("probe_intervall: unknown setting in ")
    assert all(name in line for name in DEFAULTS)


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        ("floating_ip: 10.0.0.101", "floating_ip: unknown setting in "),
        ("probe_fast_interval: 0.3", "probe_fast_interval: 0.3 s is longer than probe_interval, 0.25 s"),
        ("settle: 5\nprobe_interval: 2\nprobe_fast_interval: 2", "settle: 5 s is no longer than the 20.15 s"),
        ("fall: 20\nrise: 3\nfall: 30", "fall: stands in lines 1, 3 of "),
        ("fall: 20\n'fall': 20\n\nfall: 20", "fall: stands in lines 1, 2, 4 of "),
    ],
    ids=["two sources of the address", "doubt would slow probes down", "judged too early", "twice", "thrice"],
)
def test_what_contradicts_the_rest_is_refused(problems: Problems, document: str, problem: str) -> None:
    """Each of them alone would be fine; of what stands twice YAML's readers take the last one without a word."""
    (line,) = problems(document)
    assert line.startswith(problem)


@pytest.mark.parametrize("document", ["fall: 1", "fall: 3", "probe_interval: 0.1\nprobe_fast_interval: 0.1\nfall: 6"])
def test_probes_that_would_convict_for_a_short_stall_are_refused(problems: Problems, document: str) -> None:
    """One lost SYN or a stall of the hypervisor lasts up to about a second."""
    (line,) = problems(document)
    assert line.startswith("fall: ")
    assert "would convict a holder for a short stall" in line


@pytest.mark.parametrize(
    ("mask", "values"),
    [
        (0x40, (0x40,)),
        (0x60, (0x40, 0x20, 0x60)),
        (0x70, (0x40, 0x20, 0x60, 0x10, 0x50, 0x30, 0x70)),
        (0x80000001, (0x80000000, 0x1, 0x80000001)),
    ],
)
def test_the_marks_values_are_all_of_its_bits_but_zero(mask: int, values: tuple[int, ...]) -> None:
    """The highest bit alone comes first, so that one address alone goes on using 0x40."""
    assert mark_values(mask) == values


def test_a_mark_of_many_bits_costs_no_more_than_the_addresses_need(loaded: Load) -> None:
    """It has half a billion values, and no deployment has more addresses than priorities."""
    values = mark_values(loaded("mark: 0xffff3f7f").mark)
    assert values[:3] == (0x80000000, 0x40000000, 0xC0000000)
    assert len(values) == MOST_ADDRESSES


@pytest.mark.parametrize(("mark", "room"), [("0x40", 1), ("0x60", 3), ("0x70", 7), ("0x7f", 127)])
def test_more_addresses_than_the_mark_has_values_are_refused(overfull: Overfull, mark: str, room: int) -> None:
    """Two with one value would send each other's replies."""
    line = overfull(f"mark: {mark}\npriority: 600", room)
    assert line.startswith(f"mark: {mark} has values for {room} addresses, but FLOATING_IP has {room + 1}")


@pytest.mark.parametrize(("priority", "room"), [(1022, 1), (1020, 2), (1019, 2), (900, 62)])
def test_rules_that_would_reach_the_cnis_are_refused(overfull: Overfull, priority: int, room: int) -> None:
    """Each address has two rules; 1024 is the VPC CNI's first one, 1023 may still be ours."""
    line = overfull(f"mark: 0x7f\npriority: {priority}", room)
    assert line.startswith(f"priority: {priority} leaves no room for the rules of {room + 1} addresses below 1024")


@pytest.mark.parametrize(("table", "room"), [(252, 1), (250, 3), (243, 10), (4294967295, 1)])
def test_tables_that_would_reach_the_kernels_are_refused(overfull: Overfull, table: int, room: int) -> None:
    """Each address has the next one; 254 is the main table, and there are no more than 32 bits."""
    assert overfull(f"mark: 0x7f\ntable: {table}", room).startswith(f"table: {table} ")


def test_security_groups_are_a_list(loaded: Load) -> None:
    """Kept in their order; none means those of the worker."""
    groups = ("sg-1123abcd", "sg-0123456789abcdef0")
    assert loaded(f"security_groups: [{', '.join(groups)}]").security_groups == groups
    assert loaded("security_groups: []").security_groups == ()


def test_more_security_groups_than_an_interface_can_have_are_refused(loaded: Load, problems: Problems) -> None:
    """And the message does not go on for ever."""
    groups = [f"sg-{number:08x}" for number in range(17)]
    assert len(loaded(f"security_groups: [{', '.join(groups[1:])}]").security_groups) == 16
    (line,) = problems(f"security_groups: [{', '.join(groups)}]")
    assert line.endswith(
        "should be a list of up to 16 different ids of security groups, such as [sg-0123456789abcdef0]"
    )


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("name: NO", "; in quotes it is a text"),
        ("name: ${CLUSTER}", "; export that variable before `envsubst < floating-ip.yaml | kubectl apply -f -`"),
        ("carry: $CARRY", "; export that variable before `envsubst < floating-ip.yaml | kubectl apply -f -`"),
        ("name: 0x1F", "; in quotes it is a text"),
        ("service: 30007", 'such as tcp:30007, or "" for none'),
        ("port: '9807'", "; without quotes, and with a point before any exponent, it is a number"),
        ("probe_interval: 1e-1", "; without quotes, and with a point before any exponent, it is a number"),
        ("probe_interval: 250ms", "a number of seconds from 0.05 to 10"),
        ("security_groups:", "; without that line it has its default"),
    ],
)
def test_a_value_that_yaml_takes_for_another_kind_says_how_it_is_written(
    problems: Problems, text: str, remedy: str
) -> None:
    """Where that is what is wrong with it, and nowhere else."""
    (line,) = problems(text)
    assert line.endswith(remedy)


def test_all_problems_are_told_at_once(problems: Problems) -> None:
    """The address, an unknown key, a wrong type, a foreign mark and contradicting times in one message."""
    document = "colour: red\nport: true\nmark: 0x80\nprobe_interval: 0.1\nprobe_fast_interval: 0.2\nfall: 2"
    lines = problems(document, address="10.0.0.300")
    told = [line.partition(":")[0] for line in lines]
    assert told == ["FLOATING_IP", "colour", "port", "mark", "probe_fast_interval", "fall"]


def simulated_span(fall: int, interval: float, fast_interval: float, timeout: float) -> float:
    """Probe an address that is dead from the start, millisecond by millisecond, as the probe loop does."""
    tick = 0.001
    sent: list[int] = []
    now = 0
    while True:
        lost = [at for at in sent if now - at >= round(timeout / tick)]
        if len(lost) >= fall:
            return now * tick
        step = round((fast_interval if lost else interval) / tick)
        if not sent or now >= sent[-1] + step:
            sent.append(now)
        now += 1


@pytest.mark.parametrize(
    ("fall", "interval", "fast_interval", "timeout"),
    [
        (11, 0.25, 0.1, 0.15),
        (5, 0.25, 0.125, 0.5),
        (1, 0.25, 0.125, 0.5),
        (2, 0.25, 0.125, 0.5),
        (3, 0.25, 0.25, 1.0),
        (4, 0.5, 0.25, 0.5),
        (10, 0.1, 0.05, 0.3),
        (3, 2.0, 2.0, 0.5),
        # The first loss is known between two probes: then probing speeds up at once, and the verdict is earlier.
        (3, 0.4, 0.125, 0.5),
        (2, 1.0, 0.1, 0.15),
        (4, 1.0, 0.5, 0.5),
    ],
)
def test_the_span_of_lost_probes_is_what_probing_takes(
    fall: int, interval: float, fast_interval: float, timeout: float
) -> None:
    """The check against short stalls stands on this figure."""
    expected = simulated_span(fall, interval, fast_interval, timeout)
    assert lost_probes_span(fall, interval, fast_interval, timeout) == pytest.approx(expected, abs=0.002)


def test_the_defaults_convict_later_than_a_stall_and_within_a_second_and_a_half(loaded: Load) -> None:
    """As the setting `fall` promises."""
    assert CONVICTION_SPAN < loaded().conviction_span < 1.5


def test_probes_that_one_stall_could_lose_convict_nobody(problems: Problems) -> None:
    """Lost over more than a second, but sent within less: the last one's timeout proves nothing."""
    (line,) = problems("fall: 5\nprobe_fast_interval: 0.125\nprobe_timeout: 0.5")
    assert line == (
        "fall: 5 lost probes sent within 0.75 s would convict a holder for a stall; raise fall or probe_fast_interval"
        " until they are sent over more than 1 s"
    )


def manifest_document() -> str:
    """The settings document inside of the ConfigMap in floating-ip.yaml."""
    for part in yaml.safe_load_all(MANIFEST.read_text(encoding="utf-8")):
        if part["kind"] == "ConfigMap":
            return str(part["data"]["settings.yaml"])
    raise AssertionError("floating-ip.yaml has no ConfigMap")


def test_the_manifest_documents_every_setting_with_its_default() -> None:
    """Taking the comment signs away changes nothing, so that document and code cannot diverge."""
    lines = re.findall(r"^# ([a-z0-9_]+: .*)$", manifest_document(), re.MULTILINE)
    documented: dict[str, Any] = yaml.safe_load("\n".join(lines))
    # The one without a default value: what it shows is a name that somebody could choose.
    assert documented.pop("name") == "my-cluster"
    assert documented == {name: value for name, value in DEFAULTS.items() if name != "name"} | {"security_groups": []}
    assert [line.partition(":")[0] for line in lines] == list(DEFAULTS)


def test_the_manifest_as_it_is_shipped_means_the_defaults(loaded: Load) -> None:
    """All of the document is comment."""
    assert loaded(manifest_document()) == loaded()


def test_the_manifest_with_its_comment_signs_taken_away_is_accepted(loaded: Load) -> None:
    """No example in it would be refused."""
    document = re.sub(r"^# ([a-z0-9_]+: .*)$", r"\1", manifest_document(), flags=re.MULTILINE)
    assert loaded(document).effective() == {**loaded().effective(), "name": "my-cluster"}
