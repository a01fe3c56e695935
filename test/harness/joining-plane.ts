import { join } from "node:path";
import { eventually, freePort, startRedis, temporaryFolder } from "#libs/testing";
import { type CommandResult, repository, runCommand } from "./command.ts";
import { type DeployedNats, startDeployedNats } from "./deployed-nats.ts";
import { SupervisedProcess } from "./supervised-process.ts";

const stillpoint = join(repository, "bin/stillpoint");
/** A host is down after so long. */
const downAfterSeconds = 4;

/**
 * The services that hosts need, with mutual TLS, an authority to sign with, NATS as deploy/ configures it, and the
 * command line of an administrator. It needs root.
 */
export interface JoiningPlane extends AsyncDisposable {
  readonly folder: string;
  /** The authority's. */
  readonly certificates: string;
  readonly nats: DeployedNats;
  /** host:port */
  readonly at: { readonly operation: string; readonly scheduler: string; readonly registry: string };
  /** As the administrator, at the scheduler if unsaid. */
  run(words: readonly string[], address?: string): Promise<CommandResult>;
  /** The same, with what it answers. Fails with what was printed when it does not end with 0. */
  answered(words: readonly string[], address?: string): Promise<Answer>;
  token(...words: string[]): Promise<string>;
  /** On a machine that has no certificate and nobody's trust. */
  join(folder: string, token: string, ...words: string[]): Promise<CommandResult>;
}

/** What a command prints, whatever that is. */
type Answer = ReturnType<typeof JSON.parse>;

export async function startJoiningPlane(): Promise<JoiningPlane> {
  await using stack = new AsyncDisposableStack();
  const folder = stack.use(temporaryFolder()).path;
  const state = join(folder, "state");
  const args = ["--state", state, "--admin", "ada", "--join"];
  const prepared = await runCommand(join(repository, "deploy/prepare.sh"), args);
  if (prepared.code !== 0) throw new Error(prepared.stderr);
  const nats = stack.use(await startDeployedNats(state));
  const certificates = join(state, "certificates");
  const { at, joining } = await startServices({ folder, state, nats, stack });
  const { operation, scheduler } = at;
  const admin = filesIn(join(certificates, "admin/ada"));
  const run: JoiningPlane["run"] = (words, address = scheduler) =>
    runCommand(stillpoint, words, { env: { ...admin, STILLPOINT_ADDRESS: address } });
  const answered: JoiningPlane["answered"] = async (words, address) => {
    const { code, stdout, stderr } = await run([...words, "-o", "json"], address);
    if (code !== 0) throw new Error(stderr);
    return JSON.parse(stdout);
  };
  await eventually(() => answered(["operation", "list"], operation), { deadlineMs: 60_000 });
  await eventually(() => answered(["host", "list"]), { deadlineMs: 60_000 });
  const owned = stack.move();
  return {
    ...{ folder, certificates, nats, at, run, answered },
    token: async (...words) => (await answered(["host", "join-token", ...words])).token,
    join: (into, token, ...words) =>
      runCommand(stillpoint, ["host", "join", joining, "--folder", into, ...words], {
        env: { STILLPOINT_JOIN_TOKEN: token, TLS_CA: "", TLS_CERT: "", TLS_KEY: "" },
      }),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

interface Services {
  readonly folder: string;
  readonly state: string;
  readonly nats: DeployedNats;
  readonly stack: AsyncDisposableStack;
}

async function startServices({ folder, state, nats, stack }: Services) {
  const redis = stack.use(await startRedis());
  const free = async () => `127.0.0.1:${await freePort()}`;
  const at = { operation: await free(), scheduler: await free(), registry: await free() };
  const joining = await free();
  const env = {
    ...{ NATS_MONITOR_URL: nats.monitorUrl, REDIS_URL: redis.url, LOG_LEVEL: "info", STILLPOINT_ADDRESS: at.operation },
    ...{ OPERATION_ADDRESS: at.operation, SCHEDULER_ADDRESS: at.scheduler, JOIN_ADDRESS: joining },
    ...{ JOIN_AUTHORITY: join(state, "scheduler/authority"), JOIN_NATS_URL: `tls://127.0.0.1:${nats.server.port}` },
    NATS_ISSUER_SEED_FILE: join(state, "scheduler/nats-issuer-seed"),
    NATS_SYSTEM_URL: await nats.urlIn("scheduler/nats-system-url"),
    ...{ HOST_DOWN_AFTER_SECONDS: `${downAfterSeconds}`, REGISTRY_ADDRESS: await free() },
    ...{ REGISTRY_HTTP_ADDRESS: at.registry, REGISTRY_AUTH: "token", REGISTRY_DATA: join(folder, "images") },
  };
  for (const name of ["operation", "scheduler", "registry"]) {
    const own = { NATS_URL: await nats.urlIn(name, "nats-url"), ...filesIn(join(state, name)) };
    const script = join(repository, "services", name, "main.ts");
    stack.use(SupervisedProcess.start(script, { ...env, ...own }, join(folder, `${name}.log`)));
  }
  return { at, joining };
}

/** For a process whose certificate is in that folder. */
export const filesIn = (folder: string) => ({
  TLS_CA: join(folder, "ca.crt"),
  TLS_CERT: join(folder, "tls.crt"),
  TLS_KEY: join(folder, "tls.key"),
});
