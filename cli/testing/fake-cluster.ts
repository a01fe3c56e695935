import { CheckpointsDefinition, type CheckpointsServiceImplementation } from "#contracts/checkpoint/v1/checkpoint";
import { ProjectsDefinition, type ProjectsServiceImplementation } from "#contracts/checkpoint/v1/project";
import { SchedulesDefinition, type SchedulesServiceImplementation } from "#contracts/checkpoint/v1/schedule";
import { ContainersDefinition, type ContainersServiceImplementation } from "#contracts/container/v1/container";
import { EventsDefinition, type EventsServiceImplementation } from "#contracts/event/v1/event";
import { OperationsDefinition, type OperationsServiceImplementation } from "#contracts/operation/v1/operation";
import { AccountsDefinition, type AccountsServiceImplementation } from "#contracts/registry/v1/accounts";
import { CollectionDefinition, type CollectionServiceImplementation } from "#contracts/registry/v1/collection";
import { QuotasDefinition, type QuotasServiceImplementation } from "#contracts/registry/v1/quotas";
import { ImagesDefinition, type ImagesServiceImplementation } from "#contracts/registry/v1/registry";
import { HostsDefinition, type HostsServiceImplementation } from "#contracts/scheduler/v1/scheduler";
import { VmsDefinition, type VmsServiceImplementation } from "#contracts/vm/v1/vm";
import { silentLogger } from "#libs/logger";
import { type CallScope, RpcServer } from "#libs/rpc";
import { partialService } from "#libs/testing";
import { runCommandLine } from "../program.ts";
import type { Terminal } from "../terminal.ts";

/** The methods that a test needs, by service. */
export interface FakeServices {
  readonly vms?: Partial<VmsServiceImplementation<CallScope>>;
  readonly containers?: Partial<ContainersServiceImplementation<CallScope>>;
  readonly checkpoints?: Partial<CheckpointsServiceImplementation<CallScope>>;
  readonly projects?: Partial<ProjectsServiceImplementation<CallScope>>;
  readonly schedules?: Partial<SchedulesServiceImplementation<CallScope>>;
  readonly images?: Partial<ImagesServiceImplementation<CallScope>>;
  readonly collection?: Partial<CollectionServiceImplementation<CallScope>>;
  readonly accounts?: Partial<AccountsServiceImplementation<CallScope>>;
  readonly quotas?: Partial<QuotasServiceImplementation<CallScope>>;
  readonly hosts?: Partial<HostsServiceImplementation<CallScope>>;
  readonly operations?: Partial<OperationsServiceImplementation<CallScope>>;
  readonly events?: Partial<EventsServiceImplementation<CallScope>>;
}

export interface Ran {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

export interface FakeCluster extends AsyncDisposable {
  readonly address: string;
  /** Runs a command line against it; `terminal` overrides parts of a terminal without a person. */
  run(argv: readonly string[], terminal?: Partial<Terminal>): Promise<Ran>;
}

/** A server in this process that has just these methods, and a command line that speaks to it. */
export async function fakeCluster(services: FakeServices): Promise<FakeCluster> {
  const server = new RpcServer({ logger: silentLogger })
    .add(VmsDefinition, partialService(VmsDefinition, services.vms))
    .add(ContainersDefinition, partialService(ContainersDefinition, services.containers))
    .add(CheckpointsDefinition, partialService(CheckpointsDefinition, services.checkpoints))
    .add(ProjectsDefinition, partialService(ProjectsDefinition, services.projects))
    .add(SchedulesDefinition, partialService(SchedulesDefinition, services.schedules))
    .add(ImagesDefinition, partialService(ImagesDefinition, services.images))
    .add(CollectionDefinition, partialService(CollectionDefinition, services.collection))
    .add(AccountsDefinition, partialService(AccountsDefinition, services.accounts))
    .add(QuotasDefinition, partialService(QuotasDefinition, services.quotas))
    .add(HostsDefinition, partialService(HostsDefinition, services.hosts))
    .add(OperationsDefinition, partialService(OperationsDefinition, services.operations))
    .add(EventsDefinition, partialService(EventsDefinition, services.events));
  const address = await server.listen("127.0.0.1:0");
  return {
    address,
    run: (argv, terminal) => runWith({ STILLPOINT_ADDRESS: address }, argv, terminal),
    [Symbol.asyncDispose]: () => server.close(),
  };
}

/** Runs a command line with this environment and catches what it prints. */
export async function runWith(
  env: Readonly<Record<string, string>>,
  argv: readonly string[],
  overrides: Partial<Terminal> = {},
): Promise<Ran> {
  const printed = { out: "", err: "" };
  const code = await runCommandLine(argv, {
    out: (text) => {
      printed.out += text.toString();
    },
    err: (text) => {
      printed.err += text.toString();
    },
    isInteractive: false,
    columns: 100,
    env,
    signal: new AbortController().signal,
    ask: async () => undefined,
    readInput: async () => new Uint8Array(),
    async *liveInput() {},
    seize: () => undefined,
    ...overrides,
  });
  return { code, ...printed };
}
