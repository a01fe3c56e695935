import {
  type Container,
  type ContainerSpec,
  type ContainersClient,
  ContainersDefinition,
} from "#contracts/container/v1/container";
import { type Event, type EventsClient, EventsDefinition } from "#contracts/event/v1/event";
import { type Operation, type OperationsClient, OperationsDefinition } from "#contracts/operation/v1/operation";
import { createRpcClient } from "#libs/rpc";
import { eventually } from "#libs/testing";

const parent = "projects/default";

/** Containers of the default project over gRPC, by their short names. */
export interface ContainerClient extends Disposable {
  readonly containers: ContainersClient;
  /** Makes and starts it. Fails with the operation's error. */
  run(name: string, spec: Partial<ContainerSpec>): Promise<Container>;
  get(name: string): Promise<Container>;
  /** Waits until it is as wanted, and gives it. */
  until(name: string, isWanted: (container: Container) => boolean): Promise<Container>;
  /** An operation, by its name, when it has ended in whatever way. */
  ended(operation: string): Promise<Operation>;
  /** Waits for the end of an operation. Fails with its error. */
  done(accepted: Promise<Operation>): Promise<Operation>;
  /** What a shell in it prints on both outputs, and its exit code. */
  shell(name: string, script: string): Promise<{ readonly text: string; readonly code: number | undefined }>;
  /** What happened to it, in order: "exited". */
  events(name: string): Promise<Event[]>;
}

export function connectContainers(address: string): ContainerClient {
  const containers = createRpcClient(ContainersDefinition, address);
  const operations = createRpcClient(OperationsDefinition, address);
  const events = createRpcClient(EventsDefinition, address);
  const full = (name: string) => `${parent}/containers/${name}`;
  const get = (name: string) => containers.getContainer({ name: full(name) });
  const ended = (operation: string) => endOf(operations, operation);
  const done = async (accepted: Promise<Operation>) => {
    const last = await ended((await accepted).name);
    if (last.state === "OPERATION_STATE_SUCCEEDED") return last;
    throw new Error(`${last.error?.reason}: ${last.error?.message}`);
  };
  return {
    ...{ containers, get, ended, done },
    async run(name, spec) {
      await done(containers.createContainer({ parent, containerId: name, spec, start: true }));
      return get(name);
    },
    async until(name, isWanted) {
      const seen = async () => {
        const container = await get(name);
        return isWanted(container) && container;
      };
      return eventually(seen, { deadlineMs: 30_000 });
    },
    shell: (name, script) => runShell(containers, full(name), script),
    events: (name) => eventsOf(events, name),
    [Symbol.dispose]() {
      for (const client of [containers, operations, events]) client.close();
    },
  };
}

async function endOf(operations: OperationsClient, name: string): Promise<Operation> {
  let last: Operation | undefined;
  for await (const seen of operations.watchOperation({ name })) last = seen;
  if (last === undefined) throw new Error(`${name} was never told of`);
  return last;
}

async function runShell(containers: ContainersClient, name: string, script: string) {
  async function* asked() {
    yield { start: { name, command: ["sh", "-c", script] } };
    yield { stdinClosed: true };
  }
  let text = "";
  let code: number | undefined;
  for await (const { stdout, stderr, exitCode } of containers.execContainer(asked())) {
    text += Buffer.from(stdout).toString() + Buffer.from(stderr).toString();
    code = exitCode ?? code;
  }
  return { text, code };
}

async function eventsOf(events: EventsClient, name: string): Promise<Event[]> {
  const filter = `evt.container.v1.*.default.${name}`;
  const seen: Event[] = [];
  for await (const event of events.watchEvents({ filter })) seen.push(event);
  return seen;
}
