"""The table of options: everything else that is done with them is driven by it."""

from __future__ import annotations

from skybus.cli.manager.option import Kind, Option

WORKER, IPYTHON, CONSOLE, VERBOSITY = "startup code", "IPython kernel", "console output", "log"
PORTS = ("shell", "iopub", "stdin", "hb", "control")
KERNEL = "QSERVER_IPYTHON_KERNEL_"
LOG_LEVELS = {"VERBOSE": 10, "NORMAL": 20, "QUIET": 30, "SILENT": 51}
"""How much is logged, and the reference's number for it."""

_ADDRESSES = (
    Option(
        "zmq_control_addr",
        "Where 0MQ clients send requests: tcp://*:60615, tcp://HOST:PORT, or ipc:///path/of/a/socket.",
        default="tcp://*:60615",
        old_flag="--zmq-addr",
        variable="QSERVER_ZMQ_CONTROL_ADDRESS_FOR_SERVER",
        place="network/zmq_control_addr",
    ),
    Option(
        "zmq_private_key",
        "The private key of the control socket.",
        flag="",
        variable="QSERVER_ZMQ_PRIVATE_KEY_FOR_SERVER",
        old_variable="QSERVER_ZMQ_PRIVATE_KEY",
        place="network/zmq_private_key",
        setting="SKYBUS_ZMQ_PRIVATE_KEY",
        service="bridge",
    ),
    Option(
        "zmq_encoding",
        "How all 0MQ messages are written: json or msgpack. Clients must use the same.",
        default="json",
        choices=("json", "msgpack"),
        ignores_case=True,
        variable="QSERVER_ZMQ_ENCODING_FOR_SERVER",
        place="network/zmq_encoding",
        setting="SKYBUS_ZMQ_ENCODING",
    ),
    Option(
        "redis_addr",
        "The Redis or Valkey that keeps the queue: HOST, HOST:PORT, HOST:PORT/DB, or a URL, redis://, "
        "rediss:// (TLS) or unix://, which may have user and password.",
        default="localhost",
        place="network/redis_addr",
    ),
    Option(
        "redis_name_prefix",
        "What the names of all Redis keys begin with.",
        default="qs_default",
        place="network/redis_name_prefix",
        setting="SKYBUS_REDIS_PREFIX",
    ),
    Option(
        "emergency_lock_key",
        "A key that opens every lock.",
        flag="",
        variable="QSERVER_EMERGENCY_LOCK_KEY_FOR_SERVER",
        place="operation/emergency_lock_key",
        setting="SKYBUS_EMERGENCY_LOCK_KEY",
        service="queue",
    ),
)

_STARTUP = (
    Option(
        "startup_profile",
        "The IPython profile whose startup directory is loaded, such as 'testing' for "
        "~/.ipython/profile_testing/startup. With an IPython kernel it is always loaded, before a module or script.",
        place="startup/startup_profile",
        group=WORKER,
    ),
    Option(
        "startup_module",
        "A module to import when the environment opens. Excludes --startup-script and --startup-dir; needs "
        "--existing-plans-devices and --user-group-permissions.",
        place="startup/startup_module",
        group=WORKER,
    ),
    Option(
        "startup_script",
        "A file to run when the environment opens. Excludes --startup-module and --startup-dir; needs "
        "--existing-plans-devices and --user-group-permissions.",
        place="startup/startup_script",
        group=WORKER,
    ),
    Option(
        "startup_dir",
        "A directory whose *.py and *.ipy files are run in the order of their names when the environment opens. "
        "Excludes the options above. Where none of them is given, it is a simulated beamline.",
        place="startup/startup_dir",
        group=WORKER,
    ),
    Option(
        "ignore_invalid_plans",
        "ON leaves plans that cannot be described out; OFF takes them for an error.",
        Kind.YES_NO,
        default=False,
        place="startup/ignore_invalid_plans",
        setting="SKYBUS_IGNORE_INVALID_PLANS",
        group=WORKER,
    ),
    Option(
        "device_max_depth",
        "Levels of subdevices in the list of devices: 0 for all, 1 for the devices alone, and so on.",
        Kind.NUMBER,
        default=0,
        minimum=0,
        place="startup/device_max_depth",
        setting="SKYBUS_DEVICE_MAX_DEPTH",
        group=WORKER,
    ),
    Option(
        "existing_plans_and_devices_path",
        "The file that keeps the list of plans and devices while no environment is open, or the directory of an "
        "existing_plans_and_devices.yaml; by default beside the startup code.",
        flag="--existing-plans-devices",
        place="startup/existing_plans_and_devices_path",
        group=WORKER,
    ),
    Option(
        "update_existing_plans_devices",
        "When that file is written.",
        default="ENVIRONMENT_OPEN",
        choices=("NEVER", "ENVIRONMENT_OPEN", "ALWAYS"),
        place="operation/update_existing_plans_and_devices",
        setting="SKYBUS_UPDATE_EXISTING_PLANS_DEVICES",
        group=WORKER,
    ),
    Option(
        "user_group_permissions_path",
        "The file that says what user groups may do, or the directory of a user_group_permissions.yaml; by default "
        "beside the startup code.",
        flag="--user-group-permissions",
        place="startup/user_group_permissions_path",
        group=WORKER,
    ),
    Option(
        "user_group_permissions_reload",
        "When that file is read again: never, when a client asks, or also at each start.",
        default="ON_STARTUP",
        choices=("NEVER", "ON_REQUEST", "ON_STARTUP"),
        place="operation/user_group_permissions_reload",
        setting="SKYBUS_USER_GROUP_PERMISSIONS_RELOAD",
        group=WORKER,
    ),
    Option(
        "permitted_re_metadata_keys",
        "What clients may read of the metadata of the Run Engine, as paths: / for all, /key, /key/subkey ...",
        Kind.WORDS,
        default=["/"],
        variable="QSERVER_PERMITTED_RE_METADATA_KEYS",
        place="worker/permitted_re_metadata_keys",
        setting="SKYBUS_PERMITTED_RE_METADATA_KEYS",
        group=WORKER,
    ),
    Option(
        "keep_re",
        "Without effect, as in start-re-manager 0.0.25: the Run Engine is always the one that startup code makes.",
        Kind.YES_NO,
        constants={"--keep-re": True},
        place="startup/keep_re",
        group=WORKER,
    ),
)

_IPYTHON = (
    Option(
        "use_ipython_kernel",
        "Whether the environment runs in an IPython kernel; without one the options below have no effect.",
        Kind.YES_NO,
        default=False,
        variable="QSERVER_USE_IPYTHON_KERNEL",
        place="worker/use_ipython_kernel",
        setting="SKYBUS_USE_IPYTHON_KERNEL",
        group=IPYTHON,
    ),
    Option(
        "ipython_dir",
        "The directory of IPython profiles, by default IPYTHONDIR or ~/.ipython. Also used to find the directory of "
        "--startup-profile without a kernel.",
        place="startup/ipython_dir",
        group=IPYTHON,
    ),
    Option(
        "ipython_matplotlib",
        "The backend of matplotlib, as IPython's own --matplotlib.",
        place="worker/ipython_matplotlib",
        setting="SKYBUS_IPYTHON_MATPLOTLIB",
        group=IPYTHON,
    ),
    Option(
        "ipython_kernel_ip",
        "Where the kernel listens: localhost, auto (the address of this machine in its network), or an address.",
        default="localhost",
        variable=f"{KERNEL}IP",
        place="worker/ipython_kernel_ip",
        setting="SKYBUS_IPYTHON_KERNEL_IP",
        group=IPYTHON,
    ),
    *(
        Option(
            f"ipython_connection_{what}",
            help_,
            variable=f"{KERNEL}CONNECTION_{what.upper()}",
            place=f"worker/ipython_connection_{what}",
            setting=f"SKYBUS_IPYTHON_CONNECTION_{what.upper()}",
            group=IPYTHON,
        )
        for what, help_ in (
            (
                "file",
                "The connection file of the kernel: read if it exists, else written; a new one each time if not set.",
            ),
            ("dir", "Where connection files are; by default where `jupyter --runtime-dir` says."),
        )
    ),
    *(
        Option(
            f"ipython_{port}_port",
            f"The {port} port of the kernel; any free one if not set.",
            Kind.NUMBER,
            variable=f"{KERNEL}{port.upper()}_PORT",
            place=f"worker/ipython_{port}_port",
            setting=f"SKYBUS_IPYTHON_{port.upper()}_PORT",
            group=IPYTHON,
        )
        for port in PORTS
    ),
)

_CONSOLE = (
    Option(
        "zmq_info_addr",
        "Where console output and status are published to 0MQ clients; written as --zmq-control-addr.",
        default="tcp://*:60625",
        old_flag="--zmq-publish-console-addr",
        variable="QSERVER_ZMQ_INFO_ADDRESS_FOR_SERVER",
        place="network/zmq_info_addr",
        group=CONSOLE,
    ),
    Option(
        "zmq_publish_console",
        "Whether they are published there.",
        Kind.YES_NO,
        default=False,
        place="network/zmq_publish_console",
        setting="SKYBUS_ZMQ_PUBLISH",
        group=CONSOLE,
    ),
    Option(
        "print_console_output",
        "Whether console output is printed here; it is kept for `skybus console` in any case.",
        Kind.YES_NO,
        default=True,
        flag="--console-output",
        place="operation/print_console_output",
        group=CONSOLE,
    ),
    Option(
        "console_logging_level",
        "Everything (VERBOSE), what is usual (NORMAL), warnings and errors (QUIET), or nothing (SILENT).",
        default="NORMAL",
        constants={"--verbose": "VERBOSE", "--quiet": "QUIET", "--silent": "SILENT"},
        choices=tuple(LOG_LEVELS),
        place="operation/console_logging_level",
        setting="SKYBUS_LOG_LEVEL",
        meanings={"VERBOSE": "debug", "NORMAL": "info", "QUIET": "warning", "SILENT": "critical"},
        group=VERBOSITY,
    ),
)

OPTIONS: tuple[Option, ...] = (*_ADDRESSES, *_STARTUP, *_IPYTHON, *_CONSOLE)
BY_NAME = {option.name: option for option in OPTIONS}
PLACES = {option.place: option for option in OPTIONS if option.place}
"""By their place in a configuration file."""
CONFIG, CONFIG_VARIABLE = "--config", "QSERVER_CONFIG"
EXCLUSIVE = (("startup_module", "startup_script", "startup_dir"),)
"""Flags of which the parser takes one at the most."""
