from __future__ import annotations

import pytest
from ccm_pack.ccm.documented import typed
from ccm_pack.ccm.errors import TrainingError
from ccm_pack.training import config as c

MINIMAL = {"base": {"family": "nano"}, "data": {"path": "d"}, "run": {"folder": "r"}}


def with_key(table: str, key: str, value: object) -> dict:
    return {**MINIMAL, table: {**MINIMAL.get(table, {}), key: value}}


@pytest.mark.parametrize(
    ("table", "key", "value", "said"),
    [
        ("optimizer", "learning_rat", 1e-3, "'learning_rat' (did you mean 'learning_rate'"),
        ("optimizer", "learning_rate", "fast", "optimizer.learning_rate is 'fast', expected a number"),
        ("optimizer", "learning_rate", 2.0, "optimizer.learning_rate is 2.0, expected a number in 0 to 1"),
        ("optimizer", "learning_rate", float("nan"), "expected a number in 0 to 1"),
        ("optimizer", "steps", 10.0, "optimizer.steps is 10.0, expected a whole number"),
        ("optimizer", "steps", True, "expected a whole number"),
        ("optimizer", "steps", 0, "expected a number in 1 or more"),
        ("optimizer", "betas", [0.9], "expected two numbers below 1"),
        ("optimizer", "betas", [0.9, 1.0], "expected two numbers below 1"),
        ("optimizer", "betas", [0.9, "x"], "optimizer.betas is 'x'"),
        ("optimizer", "warmup_steps", 2001, "at most optimizer.steps, 2000"),
        ("optimizer", "name", "adam8bit", "one of adamw, adamw8bit (did you mean 'adamw8bit'?)"),
        ("data", "flips", 1, "data.flips is 1, expected true or false"),
        ("data", "fractions", [0.8, 0.1], "three numbers that add up to 1"),
        ("data", "path", 3, "data.path is 3, expected a text"),
        ("adapter", "rank", 0, "expected a number in 1 to 4096"),
        ("adapter", "method", "wdlra", "did you mean 'wdlora'?"),
        ("adapter", "alpha", -1.0, "expected a number in 1e-06 or more"),
        ("adapter", "targets", "blocks.(", "expected a regular expression"),
        ("validation", "criterion", "best f1", "min or max"),
        ("run", "seed", -1, "expected a number in 0 to"),
    ],
)
def test_a_wrong_value_is_named(table, key, value, said):
    with pytest.raises(TrainingError) as caught:
        c.parse_config(with_key(table, key, value))
    assert said in str(caught.value) and "Fix: " in str(caught.value)


def test_an_unknown_table_is_named_with_the_nearest():
    with pytest.raises(TrainingError, match=r"unknown table 'optimiser' \(did you mean 'optimizer'"):
        c.parse_config({**MINIMAL, "optimiser": {}})


def test_a_missing_key_is_named():
    with pytest.raises(TrainingError, match=r"lacks run\.folder"):
        c.parse_config({"base": {"family": "nano"}, "data": {"path": "d"}})


def test_a_whole_number_is_a_number_and_one_text_is_a_list():
    config = c.parse_config(with_key("optimizer", "weight_decay", 0))
    assert config.optimizer.weight_decay == 0.0
    assert c.parse_config(with_key("base", "text_encoder", "a")).base.text_encoder == ("a",)


def test_writing_and_reading_gives_the_same_configuration(tmp_path):
    config = c.parse_config(with_key("data", "path", str(tmp_path / 'ünï "quoted"')))
    (tmp_path / "c.toml").write_text(c.to_toml(config), "utf-8")
    assert c.read_config(tmp_path / "c.toml") == config


def test_settings_replace_keys_and_texts_need_no_quotes(tmp_path):
    file = tmp_path / "c.toml"
    file.write_text(c.to_toml(c.parse_config(MINIMAL)), "utf-8")
    config = c.read_config(file, ("optimizer.steps=700", "adapter.method=lora", "optimizer.betas=[0.8, 0.9]"))
    assert (config.optimizer.steps, config.adapter.method, config.optimizer.betas) == (
        700,
        "lora",
        (0.8, 0.9),
    )
    with pytest.raises(TrainingError, match="table.key=value"):
        c.read_config(file, ("steps=7",))


def test_a_relative_data_path_starts_at_the_file(tmp_path):
    file = tmp_path / "c.toml"
    file.write_text(c.to_toml(c.parse_config(MINIMAL)), "utf-8")
    assert c.read_config(file).data.path == str(tmp_path / "d")


def test_a_file_that_is_missing_or_no_toml_is_named(tmp_path):
    with pytest.raises(TrainingError, match="no.toml cannot be read"):
        c.read_config(tmp_path / "no.toml")
    (tmp_path / "bad.toml").write_text("[base\n", "utf-8")
    with pytest.raises(TrainingError, match="bad.toml is not TOML"):
        c.read_config(tmp_path / "bad.toml")


def test_every_key_has_a_doc():
    for _, table in typed(c.TrainConfig):
        for key, _ in typed(table):
            assert len(key.metadata["doc"]) > 10, (table, key.name)
