"""The rows of `[[sources]]`, a struct for each kind."""

from pathlib import Path
from typing import Annotated, Literal, TypeAlias

from msgspec import Meta

from edge_agent.settings.table import BrokerUrl, Host, Name, Positive, Table, Topic, Word


class FolderSource(Table, frozen=True, kw_only=True, tag="folder", tag_field="kind"):
    """Files that appear in a folder: pictures, or .npy windows. The part is named by the file."""

    name: Annotated[Name, Meta(description="name of the source")]
    path: Annotated[Path, Meta(description="folder to watch")]
    pattern: Annotated[str, Meta(min_length=1, description="which files are taken, as *.png")] = "*"
    channel: Annotated[str, Meta(min_length=1, description="what .npy windows are called in the contract")] = "signal"
    processed: Annotated[str, Meta(min_length=1, description="folder in `path` for what was judged")] = "processed"
    failed: Annotated[str, Meta(min_length=1, description="folder in `path` for what could not be inspected")] = (
        "failed"
    )
    settle_s: Annotated[float, Meta(ge=0, description="time a file must not change before it is taken")] = 0.2


class ReplaySource(Table, frozen=True, kw_only=True, tag="replay", tag_field="kind"):
    """Draws from recorded data, a fresh one for each trigger; the same seed and trigger give the same draw."""

    name: Annotated[Name, Meta(description="name of the source")]
    scene: Annotated[Literal["textures", "windows"], Meta(description="crops of pictures, or rows of a signal")]
    path: Annotated[Path, Meta(description="folder of pictures, or file of windows")]
    channel: Annotated[str, Meta(min_length=1, description="what windows are called in the contract")] = "signal"
    seed: Annotated[int, Meta(ge=0, description="seed of the draws")] = 0
    half: Annotated[Literal["left", "right"], Meta(description="half of each picture the crops come from")] = "right"
    defect_share: Annotated[float, Meta(ge=0, le=1, description="share of draws with a defect or fault")] = 0.05
    crop_px: Annotated[int, Meta(ge=16, le=4096, description="side of a crop")] = 224
    dimmer: Annotated[Path | None, Meta(description="text file with a factor on the light, as 0.8")] = None


class VideoSource(Table, frozen=True, kw_only=True, tag="video", tag_field="kind"):
    """A picture or video file played as a camera would show it: the next frame for each trigger."""

    name: Annotated[Name, Meta(description="name of the source")]
    path: Annotated[Path, Meta(description="file to play; a PNG or JPEG is shown again and again")]
    loop: Annotated[bool, Meta(description="begin again after the last frame; else what comes after is a fault")] = True


class CameraSource(Table, frozen=True, kw_only=True, tag="camera", tag_field="kind"):
    """A camera: a video device, or a stream over RTSP or HTTP. A trigger gets a frame that came after it."""

    name: Annotated[Name, Meta(description="name of the source")]
    url: Annotated[
        str,
        Meta(
            pattern=r"^([0-9]{1,3}|/dev/\S+|(rtsps?|https?)://[^/\s]+\S*)$",
            description="number or path of a device, or rtsp://, rtsps://, http:// or https:// URL without a password",
        ),
    ]
    user: Annotated[str, Meta(description="whom the camera knows us as")] = ""
    password_file: Annotated[Path | None, Meta(description="file with the user's password at the camera")] = None
    transport: Annotated[Literal["tcp", "udp"], Meta(description="carrier of an RTSP stream")] = "tcp"
    width: Annotated[int, Meta(ge=0, le=16_384, description="width asked of a device; 0: its own")] = 0
    height: Annotated[int, Meta(ge=0, le=16_384, description="height asked of a device; 0: its own")] = 0
    rate_hz: Annotated[float, Meta(ge=0, le=1000, description="frames a second asked of a device; 0: its own")] = 0.0
    pixels: Annotated[
        str, Meta(pattern=r"^(|[A-Z0-9]{4})$", description="pixel format asked of a device, as MJPG; empty: its own")
    ] = ""
    fresh_ms: Annotated[
        float, Meta(ge=0, le=5000, description="longest a trigger waits for a frame that came after it")
    ] = 200.0
    max_age_ms: Annotated[
        float,
        Meta(ge=0, le=5000, description="age at the trigger that a frame may have when no later one came; 0: none"),
    ] = 0.0
    open_s: Annotated[Positive, Meta(description="longest an attempt to open the stream may take")] = 5.0
    silent_s: Annotated[Positive, Meta(description="time without a frame after which it is opened anew")] = 5.0
    max_lag_ms: Annotated[
        float,
        Meta(ge=0, le=60_000, description="delay that frames of RTSP may gather, by the camera's own stamps; 0: any"),
    ] = 1000.0
    frozen_s: Annotated[
        float, Meta(ge=0, le=3600, description="time of equal frames after which the stream is frozen; 0: off")
    ] = 3.0
    backoff_s: Annotated[Positive, Meta(description="longest pause between two attempts to open it")] = 10.0


class RecordedSource(Table, frozen=True, kw_only=True, tag="recorded", tag_field="kind"):
    """Recorded signals of a .csv, .npz or .npy file, cut into windows: the next one for each trigger."""

    name: Annotated[Name, Meta(description="name of the source")]
    path: Annotated[Path, Meta(description="file to play")]
    columns: Annotated[
        tuple[Word, ...], Meta(description="columns or arrays to take, by name or number from 0; none: all of them")
    ] = ()
    channels: Annotated[
        tuple[Word, ...], Meta(description="what they are called in the contract; none: as in the file")
    ] = ()
    time_column: Annotated[
        str, Meta(description="column with the time of each row, ISO 8601 or seconds; with it missing rows are seen")
    ] = ""
    rate_hz: Annotated[
        float, Meta(gt=0, le=10_000_000, description="samples per second; with times: of the even grid they are put on")
    ] = 1.0
    length: Annotated[int, Meta(ge=1, le=1_000_000, description="samples in a window")]
    hop: Annotated[
        int, Meta(ge=0, le=1_000_000, description="samples from one window to the next; 0: as many as a window has")
    ] = 0
    loop: Annotated[bool, Meta(description="begin again after the last window; else what comes after is a fault")] = (
        True
    )


class MqttSource(Table, frozen=True, kw_only=True, tag="mqtt", tag_field="kind"):
    """Windows or pictures from a broker on the line: each message is a part."""

    name: Annotated[Name, Meta(description="name of the source")]
    broker: Annotated[BrokerUrl, Meta(description="mqtt://host:port, or mqtts://host:port for TLS")]
    topic: Annotated[Topic, Meta(description="topic or filter it listens on, as line/4/+/window")]
    payload: Annotated[
        Literal["json", "npy", "float32", "image"],
        Meta(description="what a message holds: a JSON object, a .npy file, raw little-endian floats, a PNG or JPEG"),
    ] = "json"
    channels: Annotated[
        tuple[Word, ...], Meta(min_length=1, description="channels of a message, named as in the contract")
    ] = ("signal",)
    length: Annotated[
        int, Meta(ge=0, le=1_000_000, description="numbers in each channel; needed for float32; 0: any number")
    ] = 0
    queue: Annotated[
        int, Meta(ge=1, le=10_000, description="messages that may wait; a full queue gives up its oldest")
    ] = 64
    ca_file: Annotated[Path | None, Meta(description="authority the broker's certificate must come from, PEM")] = None


class PushSource(Table, frozen=True, kw_only=True, tag="push", tag_field="kind"):
    """Pictures or windows that the line sends by HTTP POST: each request is a part."""

    name: Annotated[Name, Meta(description="name of the source")]
    host: Annotated[Host, Meta(description="address to listen on; not loopback: only with `token_file`")] = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65_535, description="port to listen on; 0: any free one, told in the log")]
    path: Annotated[str, Meta(pattern=r"^/[\w./-]*$", description="path that takes parts")] = "/parts"
    token_file: Annotated[
        Path | None, Meta(description="file with the token that `Authorization: Bearer` must show")
    ] = None
    channels: Annotated[
        tuple[Word, ...], Meta(min_length=1, description="channels of a part, named as in the contract")
    ] = ("signal",)
    length: Annotated[
        int, Meta(ge=0, le=1_000_000, description="numbers in each channel; needed for raw floats; 0: any number")
    ] = 0
    queue: Annotated[int, Meta(ge=1, le=10_000, description="parts that may wait; a full queue answers 429")] = 16
    max_mb: Annotated[float, Meta(gt=0, le=64, description="largest body that is taken")] = 16.0
    take_s: Annotated[Positive, Meta(description="longest a part waits for its trigger before 503 takes it back")] = 2.0


Source: TypeAlias = FolderSource | ReplaySource | VideoSource | CameraSource | RecordedSource | MqttSource | PushSource
