import { type IdentityOptions, identify } from "./identify.ts";
import type { Format } from "./output/format.ts";
import { reach } from "./reach.ts";
import type { Terminal } from "./terminal.ts";

/** The options that every command takes. */
export interface CommonOptions extends IdentityOptions {
  readonly output: Format;
  readonly project: string;
  readonly address?: string;
}

const defaultAddress = "127.0.0.1:7070";

/**
 * The services behind one address. Each client is made when it is first asked for, and what it needs is only loaded
 * then, so that --help stays fast.
 */
export class Api {
  readonly terminal: Terminal;
  readonly options: CommonOptions;
  readonly #address: string;
  readonly #closers: (() => void)[] = [];
  #reached: Promise<void> | undefined;

  constructor(terminal: Terminal, options: CommonOptions) {
    this.terminal = terminal;
    this.options = options;
    this.#address = options.address ?? terminal.env.STILLPOINT_ADDRESS ?? defaultAddress;
  }

  async vms() {
    const [{ VmsDefinition }, rpc] = await Promise.all([import("#contracts/vm/v1/vm"), this.#rpc()]);
    return this.#keep(rpc.createRpcClient(VmsDefinition, this.#address));
  }

  async containers() {
    const contract = import("#contracts/container/v1/container");
    const [{ ContainersDefinition }, rpc] = await Promise.all([contract, this.#rpc()]);
    return this.#keep(rpc.createRpcClient(ContainersDefinition, this.#address));
  }

  async checkpoints() {
    const contract = import("#contracts/checkpoint/v1/checkpoint");
    const [{ CheckpointsDefinition }, rpc] = await Promise.all([contract, this.#rpc()]);
    return this.#keep(rpc.createRpcClient(CheckpointsDefinition, this.#address));
  }

  async groups() {
    const contract = import("#contracts/checkpoint/v1/group");
    const [{ GroupsDefinition }, rpc] = await Promise.all([contract, this.#rpc()]);
    return this.#keep(rpc.createRpcClient(GroupsDefinition, this.#address));
  }

  async projects() {
    const contract = import("#contracts/checkpoint/v1/project");
    const [{ ProjectsDefinition }, rpc] = await Promise.all([contract, this.#rpc()]);
    return this.#keep(rpc.createRpcClient(ProjectsDefinition, this.#address));
  }

  async schedules() {
    const contract = import("#contracts/checkpoint/v1/schedule");
    const [{ SchedulesDefinition }, rpc] = await Promise.all([contract, this.#rpc()]);
    return this.#keep(rpc.createRpcClient(SchedulesDefinition, this.#address));
  }

  async images() {
    const [{ ImagesDefinition }, rpc] = await Promise.all([import("#contracts/registry/v1/registry"), this.#rpc()]);
    return this.#keep(rpc.createRpcClient(ImagesDefinition, this.#address));
  }

  async collection() {
    const contract = import("#contracts/registry/v1/collection");
    const [{ CollectionDefinition }, rpc] = await Promise.all([contract, this.#rpc()]);
    return this.#keep(rpc.createRpcClient(CollectionDefinition, this.#address));
  }

  async accounts() {
    const contract = import("#contracts/registry/v1/accounts");
    const [{ AccountsDefinition }, rpc] = await Promise.all([contract, this.#rpc()]);
    return this.#keep(rpc.createRpcClient(AccountsDefinition, this.#address));
  }

  async quotas() {
    const [{ QuotasDefinition }, rpc] = await Promise.all([import("#contracts/registry/v1/quotas"), this.#rpc()]);
    return this.#keep(rpc.createRpcClient(QuotasDefinition, this.#address));
  }

  async hosts() {
    const [{ HostsDefinition }, rpc] = await Promise.all([import("#contracts/scheduler/v1/scheduler"), this.#rpc()]);
    return this.#keep(rpc.createRpcClient(HostsDefinition, this.#address));
  }

  async operations() {
    const contract = import("#contracts/operation/v1/operation");
    const [{ OperationsDefinition }, rpc] = await Promise.all([contract, this.#rpc()]);
    return this.#keep(rpc.createRpcClient(OperationsDefinition, this.#address));
  }

  async admin() {
    const [{ AdminDefinition }, rpc] = await Promise.all([import("#contracts/operation/v1/admin"), this.#rpc()]);
    return this.#keep(rpc.createRpcClient(AdminDefinition, this.#address));
  }

  async events() {
    const [{ EventsDefinition }, rpc] = await Promise.all([import("#contracts/event/v1/event"), this.#rpc()]);
    return this.#keep(rpc.createRpcClient(EventsDefinition, this.#address));
  }

  close(): void {
    for (const close of this.#closers.splice(0)) close();
  }

  async #rpc() {
    this.#reached ??= identify(this.terminal, this.options).then(() => reach(this.#address));
    const [rpc] = await Promise.all([import("#libs/rpc"), this.#reached]);
    return rpc;
  }

  #keep<Client extends { close(): void }>(client: Client): Client {
    this.#closers.push(() => client.close());
    return client;
  }
}

/** Gives `work` the services, and lets them go afterwards. */
export async function withApi<Result>(
  terminal: Terminal,
  options: CommonOptions,
  work: (api: Api) => Promise<Result>,
): Promise<Result> {
  const api = new Api(terminal, options);
  try {
    return await work(api);
  } finally {
    api.close();
  }
}
