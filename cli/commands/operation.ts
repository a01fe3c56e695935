import type { Command } from "commander";
import type { Operation } from "#contracts/operation/v1/operation";
import { operationName } from "#libs/names";
import { type Api, type CommonOptions, withApi } from "../api.ts";
import { leafCommand, nounCommand } from "../leaf-command.ts";
import { printAnswer } from "../output/format.ts";
import { showOperation, showOperations } from "../output/operations.ts";
import { wholeNumber } from "../parse/whole-number.ts";
import type { Terminal } from "../terminal.ts";
import { waitForOperation } from "../wait-for-operation.ts";

interface ListOptions extends CommonOptions {
  readonly unfinished?: boolean;
  readonly target?: string;
  readonly limit?: number;
}

/** stillpoint operation ... */
export function operationCommand(terminal: Terminal): Command {
  const onOperation = (verb: string, description: string, ask: (api: Api, name: string) => Promise<Operation>) =>
    leafCommand(verb, description)
      .argument("<id>")
      .action((id: string, options: CommonOptions) =>
        withApi(terminal, options, async (api) => printOperation(api, await ask(api, fullName(id)))),
      );
  const get = async (api: Api, name: string) => (await api.operations()).getOperation({ name });
  return nounCommand("operation", "Long-running jobs.")
    .addCommand(
      leafCommand("list", "List operations, newest first.")
        .option("--unfinished", "only those that are not done")
        .option("--target <name>", "only those on this resource, such as projects/default/vms/web-1")
        .option("--limit <n>", "at most this many (default: 100)", wholeNumber(1, 1_000))
        .action((options: ListOptions) => withApi(terminal, options, (api) => listOperations(api, options))),
    )
    .addCommand(onOperation("get", "Show an operation.", get))
    .addCommand(
      onOperation("wait", "Wait until an operation is done; fail as it does.", async (api, name) =>
        waitForOperation(api, await get(api, name)),
      ),
    )
    .addCommand(
      onOperation("cancel", "Ask an operation to stop at its next safe point.", async (api, name) =>
        (await api.operations()).cancelOperation({ name }),
      ),
    );
}

const fullName = (id: string): string => operationName(id.replace(/^operations\//, ""));

async function listOperations(api: Api, { unfinished = false, target = "", limit = 0 }: ListOptions): Promise<void> {
  const operations = await api.operations();
  const response = await operations.listOperations({ unfinishedOnly: unfinished, target, pageSize: limit });
  const { ListOperationsResponse } = await import("#contracts/operation/v1/operation");
  const json = ListOperationsResponse.toJSON(response);
  const table = () => showOperations(response.operations, new Date());
  await printAnswer(api.terminal, api.options.output, { json, table });
}

async function printOperation(api: Api, operation: Operation): Promise<void> {
  const contract = await import("#contracts/operation/v1/operation");
  const json = contract.Operation.toJSON(operation);
  await printAnswer(api.terminal, api.options.output, { json, table: () => showOperation(operation) });
}
