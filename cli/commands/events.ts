import type { Command } from "commander";
import { type Api, type CommonOptions, withApi } from "../api.ts";
import { leafCommand } from "../leaf-command.ts";
import { showEvent } from "../output/events.ts";
import { printItem } from "../output/format.ts";
import type { Terminal } from "../terminal.ts";

interface EventsOptions extends CommonOptions {
  readonly follow?: boolean;
  readonly since?: string;
  readonly filter?: string;
}

/** stillpoint events */
export function eventsCommand(terminal: Terminal): Command {
  return leafCommand("events", "What happened, oldest first.")
    .option("-f, --follow", "go on until Ctrl-C")
    .option("--since <token>", "only what came after this token (in -o json)")
    .option("--filter <subject>", 'a subject with wildcards, such as "evt.vm.>"')
    .action((options: EventsOptions) => withApi(terminal, options, (api) => printEvents(api, options)));
}

async function printEvents(api: Api, { follow = false, since = "", filter = "" }: EventsOptions): Promise<void> {
  const events = await api.events();
  const { Event } = await import("#contracts/event/v1/event");
  const { terminal, options } = api;
  for await (const event of events.watchEvents({ since, filter, follow }, { signal: terminal.signal })) {
    await printItem(terminal, options.output, {
      json: Event.toJSON(event),
      table: () => showEvent(event),
    });
  }
}
