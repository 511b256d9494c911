# Loaded before a node's own scripts, which may overrule what is here.

# A logger that runs without Zeek's Supervisor expects zeekctl's programs for
# rotated logs. Have it do what it does under the Supervisor: collect them for
# zeek-archiver. The node runs in <state>/nodes/<name>.
@ifdef ( archiver_rotation_format_func )
redef Log::default_rotation_dir = "../../log-queue";
redef Log::rotation_format_func = archiver_rotation_format_func;
redef Log::default_rotation_postprocessor_cmd = "";
redef LogAscii::enable_leftover_log_rotation = T;
@endif

# The agent's key serves the node as well. The agent puts this into the
# environment, as everybody can read command lines.
redef Broker::ssl_passphrase = getenv("ZEEKWIRE_TLS_PASSPHRASE");
