import { randomUUID } from "node:crypto";
import type { Operation } from "#contracts/operation/v1/operation";
import { type Api, type CommonOptions, withApi } from "./api.ts";
import { printAnswer } from "./output/format.ts";
import { lastPart } from "./output/units.ts";
import type { Terminal } from "./terminal.ts";
import { type WaitOptions, waitForOperation } from "./wait-for-operation.ts";

export interface OperationCommand {
  /** Asks the server; the request id makes a repeated request the same operation. */
  start(api: Api, requestId: string): Promise<Operation>;
  /** What people read when it is done. */
  told(operation: Operation, api: Api): string | Promise<string>;
}

/** Starts an operation, waits for it unless --async, and prints it. */
export function runOperation(
  terminal: Terminal,
  options: CommonOptions & WaitOptions,
  command: OperationCommand,
): Promise<void> {
  return withApi(terminal, options, async (api) => {
    const accepted = await command.start(api, randomUUID());
    const waits = options.async !== true;
    const operation = waits ? await waitForOperation(api, accepted) : accepted;
    const text = waits ? await command.told(operation, api) : followUp(operation);
    const contract = await import("#contracts/operation/v1/operation");
    const json = contract.Operation.toJSON(operation);
    await printAnswer(terminal, options.output, { json, table: () => text });
  });
}

const followUp = ({ name }: Operation): string =>
  `Accepted as ${name}.\nWait for it with: stillpoint operation wait ${lastPart(name)}`;
