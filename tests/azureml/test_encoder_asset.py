"""`tfhub-blocks encoder pin azureml:NAME:VERSION`, through the unmodified SDK."""

from pathlib import Path

from azure.ai.ml.entities import Model

from tfhub_blocks.cli import main
from tfhub_blocks.records.pins.pins import read_pin


def test_a_model_asset_is_pinned_from_the_workspace(
    ml_client, azure, saved_encoder, monkeypatch, tmp_path, capfd
):
    ml_client.models.create_or_update(
        Model(name="small", version="3", path=str(saved_encoder), type="custom_model")
    )
    monkeypatch.chdir(tmp_path)
    azure.write_config(tmp_path)
    assert main(["encoder", "pin", "azureml:small:3", "--to", "encoders/small"]) == 0
    pin = read_pin(Path("encoders/small/encoder.toml"))
    assert pin.handle == "azureml:small:3"
    assert Path("encoders/small/saved_model/saved_model.pb").is_file()
    capfd.readouterr()

    assert main(["encoder", "pin", "azureml:small:4", "--to", "encoders/other"]) == 2
    [line] = [text for text in capfd.readouterr().err.splitlines() if text.startswith("error: ")]
    assert line.startswith("error: [encoder > azureml:small:4] ")
    assert not Path("encoders/other").exists()


def test_a_model_asset_is_pinned_from_a_registry(azure, saved_encoder, monkeypatch, tmp_path):
    azure.add_registry("blocks")
    model = Model(name="small", version="3", path=str(saved_encoder), type="custom_model")
    azure.registry_client("blocks").models.create_or_update(model)
    monkeypatch.chdir(tmp_path)
    handle = "azureml://registries/blocks/models/small/versions/3"
    assert main(["encoder", "pin", handle, "--to", "encoders/small"]) == 0
    assert read_pin(Path("encoders/small/encoder.toml")).handle == handle
    assert main(["encoder", "verify"]) == 0
