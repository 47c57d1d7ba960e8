"""No password of a Redis server in what a run shows or keeps."""

from __future__ import annotations

import pytest
import yaml
from omegaconf import OmegaConf

from rlvr.config.compose import compose, yaml_of
from rlvr.config.redact import flat, public, without_password

SECRET = "redis://me:se@cr:et@host:6379/0"
SHOWN = "redis://me:...@host:6379/0"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        (SECRET, SHOWN),
        ("redis://:secret@host:6379/0", "redis://:...@host:6379/0"),
        ("rediss://me:secret@host/0?ssl_cert_reqs=none", "rediss://me:...@host/0?ssl_cert_reqs=none"),
        ("redis://host:6379/0", "redis://host:6379/0"),
        ("redis://me@host:6379/0", "redis://me@host:6379/0"),
        (None, None),
    ],
)
def test_an_address_is_shown_without_its_password(url: str | None, shown: str | None) -> None:
    assert without_password(url) == shown


def test_neither_the_values_of_a_configuration_nor_its_yaml_hold_the_password() -> None:
    config = compose(["verify=redis", f"verify.redis_url='{SECRET}'"])
    assert config.verify.redis_url == SECRET, "workers are still found"
    values = public(config)
    assert values["verify"]["redis_url"] == SHOWN
    assert values["algo"]["group_size"] == config.algo.group_size
    text = yaml_of(OmegaConf.structured(config))
    assert yaml.safe_load(text)["verify"]["redis_url"] == SHOWN
    assert "se@cr:et" not in text + str(values)


def test_values_by_dotted_key() -> None:
    values = flat(public(compose(["rules.format.weight={0: 0.1, 5: 0.0}"])))
    assert values["algo.kl"] == "k3"
    assert values["rules.format.weight"] == {0: 0.1, 5: 0.0}
    assert flat({"a": {"b": {}, "c": []}, "d": None}) == {"a.b": {}, "a.c": [], "d": None}
