import type { Command } from "commander";
import type { Terminal } from "./terminal.ts";

type Load = (terminal: Terminal) => Promise<Command>;

/** What stands first on a command line, in the order of --help. A command loads the code of its own noun alone. */
const nouns = new Map<string, Load>([
  ["dev", async (terminal) => (await import("./commands/dev.ts")).devCommand(terminal)],
  ["vm", async (terminal) => (await import("./commands/vm.ts")).vmCommand(terminal)],
  ["container", async (terminal) => (await import("./commands/container.ts")).containerCommand(terminal)],
  ["checkpoint", async (terminal) => (await import("./commands/checkpoint.ts")).checkpointCommand(terminal)],
  ["schedule", async (terminal) => (await import("./commands/schedule.ts")).scheduleCommand(terminal)],
  ["group", async (terminal) => (await import("./commands/group.ts")).groupCommand(terminal)],
  ["image", async (terminal) => (await import("./commands/image.ts")).imageCommand(terminal)],
  ["registry", async (terminal) => (await import("./commands/registry.ts")).registryCommand(terminal)],
  ["host", async (terminal) => (await import("./commands/host.ts")).hostCommand(terminal)],
  ["project", async (terminal) => (await import("./commands/project.ts")).projectCommand(terminal)],
  ["operation", async (terminal) => (await import("./commands/operation.ts")).operationCommand(terminal)],
  ["events", async (terminal) => (await import("./commands/events.ts")).eventsCommand(terminal)],
  ["admin", async (terminal) => (await import("./commands/admin.ts")).adminCommand(terminal)],
  ["cert", async (terminal) => (await import("./commands/cert.ts")).certCommand(terminal)],
]);

/** The command of the noun that a command line names; of all of them where it names none: that needs help. */
export async function loadNouns(argv: readonly string[], root: Command, terminal: Terminal): Promise<Command[]> {
  const named = nouns.get(firstWord(argv, root) ?? "");
  const wanted = named === undefined ? [...nouns.values()] : [named];
  return Promise.all(wanted.map((load) => load(terminal)));
}

/** What comes after the options of `root`. */
function firstWord(argv: readonly string[], root: Command): string | undefined {
  const valued = new Set(root.options.filter(({ required }) => required).flatMap(({ short, long }) => [short, long]));
  return argv.find((word, at) => !word.startsWith("-") && (at === 0 || !valued.has(argv[at - 1])));
}
