import { readFile } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import { type Command, Option } from "commander";
import { hostIdOf, hostName } from "#libs/names";
import { type CommonOptions, withApi } from "../api.ts";
import { hideOptions, leafCommand } from "../leaf-command.ts";
import { type Format, printAnswer } from "../output/format.ts";
import { renderFields } from "../output/table.ts";
import { showTime } from "../output/units.ts";
import { parseDuration } from "../parse/duration.ts";
import { collectLabel } from "../parse/label.ts";
import type { Terminal } from "../terminal.ts";
import { UsageError } from "../usage-error.ts";

interface TokenOptions extends CommonOptions {
  readonly host?: string;
  readonly ttl?: { readonly seconds: number };
  readonly zone?: string;
  readonly label?: Readonly<Record<string, string>>;
}

/** stillpoint host join-token */
export function joinTokenCommand(terminal: Terminal): Command {
  return leafCommand("join-token", "Make a token by which one machine may join once.")
    .option("--host <name>", "good for this name alone, also when there is such a host already (default: any new name)")
    .option("--ttl <duration>", "how long it is good, 1m to 168h (default: 1h)", parseDuration)
    .option("--zone <zone>", "zone of the host")
    .option("--label <key=value>", "a label of the host; repeatable", collectLabel)
    .action((options: TokenOptions) =>
      withApi(terminal, options, async (api) => {
        const { host, ttl, zone = "", label: labels = {} } = options;
        const asked = { host: host === undefined ? "" : hostName(host), zone, labels };
        const made = await (await api.hosts()).createJoinToken({
          ...asked,
          ...(ttl !== undefined && { ttl: { ...ttl, nanos: 0 } }),
        });
        const { JoinToken } = await import("#contracts/scheduler/v1/scheduler");
        const table = () =>
          `${made.token}\n\nGood once, until ${showTime(made.expireTime)}. On the machine, as root:\n` +
          "stillpoint host join CONTROL-PLANE:7079 --token-file FILE\n";
        await printAnswer(terminal, options.output, { json: JoinToken.toJSON(made), table });
      }),
    );
}

interface JoinOptions {
  readonly output: Format;
  readonly token?: string;
  readonly tokenFile?: string;
  readonly name?: string;
  readonly folder: string;
  readonly listen: string;
  readonly reachedAt?: string;
  readonly force?: boolean;
}

/** stillpoint host join */
export function joinCommand(terminal: Terminal): Command {
  const command = leafCommand("join", "Have this machine join: its key, certificate and settings for the agent.");
  return hideOptions(command, ["address"])
    .argument("<address>", "host:port where machines join, port 7079 of the control plane")
    .addOption(new Option("--token <token>", "the token; others on this machine may see it, better: --token-file"))
    .option("--token-file <file>", '"-" for standard input (default: STILLPOINT_JOIN_TOKEN)')
    .option("--name <name>", "its name as a host (default: the machine's)")
    .option("--folder <folder>", "where the files go", "/etc/stillpoint/host")
    .option("--listen <host:port>", "where the agent will listen", "0.0.0.0:7071")
    .option("--reached-at <host:port>", "where services dial it (default: its address on the way to the control plane)")
    .option("--force", "take the place of what is there")
    .action((address: string, options: JoinOptions) => joinFrom(terminal, address, options));
}

async function joinFrom(terminal: Terminal, address: string, options: JoinOptions): Promise<void> {
  const host = hostName(options.name ?? hostIdOf(hostname()));
  const [{ joinMachine }, token] = await Promise.all([import("../join/join-machine.ts"), readToken(terminal, options)]);
  const { folder, listen, reachedAt, force = false } = options;
  const files = await joinMachine({ address, token, host, folder, listen, reachedAt, force });
  const facts = { host, folder, certificate: files.certificate, environment: files.environment };
  await printAnswer(terminal, options.output, {
    json: facts,
    table: () =>
      renderFields([
        ["Joined as", host],
        ["Key", files.key],
        ["Certificate", files.certificate],
        ["Agent's settings", files.environment],
        ["Start it with", `deploy/agent.sh ${folder}`],
      ]),
  });
}

async function readToken(terminal: Terminal, { token, tokenFile }: JoinOptions): Promise<string> {
  if (token !== undefined) return token;
  if (tokenFile === "-")
    return Buffer.from(await terminal.readInput())
      .toString("utf8")
      .trim();
  if (tokenFile !== undefined) return (await readFile(join(tokenFile), "utf8")).trim();
  const { STILLPOINT_JOIN_TOKEN: inEnvironment } = terminal.env;
  if (inEnvironment) return inEnvironment;
  throw new UsageError("there is no token", {
    help: "Make one with: stillpoint host join-token; and pass it in a file with --token-file.",
  });
}
