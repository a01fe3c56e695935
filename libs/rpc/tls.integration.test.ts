import { once } from "node:events";
import { connect } from "node:tls";
import { Metadata } from "nice-grpc-common";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type OperationsClient, OperationsDefinition } from "#contracts/operation/v1/operation";
import type { Principal } from "#libs/auth";
import { silentLogger } from "#libs/logger";
import { createRpcClient, RpcServer } from "#libs/rpc";
import { eventually, temporaryFolder } from "#libs/testing";
import { Authority, type Identity, TlsIdentity } from "#libs/tls";
import { failure, operations } from "./testing/served.ts";

const folder = temporaryFolder();
const authority = new Authority(folder.path);
const identities = new AsyncDisposableStack();
const days = 2;

async function identityOf(name: Identity, by = authority): Promise<TlsIdentity> {
  const files = await by.issue(name, { days, names: ["127.0.0.1"], force: true });
  return identities.adopt(new TlsIdentity(files, { everyMs: 20 }), (it) => it.close());
}

/** A server that answers with the name of the principal that asks. */
async function served(tls: TlsIdentity, address = "127.0.0.1:0", admits?: (principal: Principal) => boolean) {
  const whoAsks = operations({ cancelOperation: async (_request, { principal }) => ({ name: principal.name }) });
  const server = new RpcServer({ logger: silentLogger, tls, ...(admits && { admits }) });
  const listening = await server.add(OperationsDefinition, whoAsks).listen(address);
  return { address: listening, [Symbol.asyncDispose]: () => server.close() };
}

async function ask(client: OperationsClient & { close(): void }, metadata: Record<string, string> = {}) {
  try {
    return (await client.cancelOperation({ name: "operations/x" }, { metadata: Metadata(metadata) })).name;
  } finally {
    client.close();
  }
}

const clientOf = (address: string, options: Parameters<typeof createRpcClient>[2]) =>
  createRpcClient(OperationsDefinition, address, { timeoutMs: 3_000, ...options });

let vm: TlsIdentity;
let checkpoint: TlsIdentity;

beforeAll(async () => {
  await authority.create({ days });
  [vm, checkpoint] = await Promise.all([identityOf("svc/vm"), identityOf("svc/checkpoint")]);
});

afterAll(async () => {
  await identities.disposeAsync();
  await folder[Symbol.asyncDispose]();
});

test("the caller's certificate says who asks, on any address", async () => {
  await using rpc = await served(vm, "0.0.0.0:0");
  const address = rpc.address.replace("0.0.0.0", "127.0.0.1");
  expect(await ask(clientOf(address, { tls: checkpoint }))).toBe("svc/checkpoint");
  expect(await ask(clientOf(address, { tls: await identityOf("host/n1") }))).toBe("host/n1");
  expect(await ask(clientOf(address, { tls: await identityOf("admin/ada") }))).toBe("admin/ada");
  const forged = { "x-stillpoint-caller": "admin/ada", "x-stillpoint-client": "admin/ada" };
  expect(await ask(clientOf(address, { tls: checkpoint }), forged)).toBe("svc/checkpoint");
});

test("the proxy alone may say for whom it asks, and must", async () => {
  await using rpc = await served(vm);
  const tls = await identityOf("svc/proxy");
  expect(await ask(clientOf(rpc.address, { tls }), { "x-stillpoint-client": "admin/ada" })).toBe("admin/ada");
  for (const forwarded of [{}, { "x-stillpoint-client": "svc/proxy" }, { "x-stillpoint-client": "ada" }]) {
    expect(await failure(ask(clientOf(rpc.address, { tls }), forwarded))).toMatchObject({
      reason: "PERMISSION_DENIED",
    });
  }
});

test("nobody gets in without a certificate of the authority", async () => {
  await using other = temporaryFolder();
  const strangers = new Authority(other.path);
  await strangers.create({ days });
  await using rpc = await served(vm);
  await expect(ask(createRpcClient(OperationsDefinition, rpc.address, { timeoutMs: 3_000 }))).rejects.toMatchObject({
    reason: "UNAVAILABLE",
  });
  const stranger = await identityOf("svc/checkpoint", strangers);
  await expect(ask(clientOf(rpc.address, { tls: stranger }))).rejects.toMatchObject({ reason: "UNAVAILABLE" });
  const [host, port] = rpc.address.split(":");
  const bare = connect({ host, port: Number(port), ca: vm.pem.ca, ALPNProtocols: ["h2"] });
  const [error] = (await once(bare, "error")) as [NodeJS.ErrnoException];
  expect(error.code).toBe("ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED");
});

test("a client wants the address that it dials, or the peer that it names", async () => {
  const files = await authority.issue("host/n1", { days, names: ["n1.example"], force: true });
  const n1 = identities.adopt(new TlsIdentity(files), (it) => it.close());
  await using rpc = await served(n1);
  expect(await ask(clientOf(rpc.address, { tls: vm, peer: "host/n1" }))).toBe("svc/vm");
  await expect(ask(clientOf(rpc.address, { tls: vm }))).rejects.toThrow("does not match certificate's altnames");
  await expect(ask(clientOf(rpc.address, { tls: vm, peer: "host/n2" }))).rejects.toThrow(
    "host/n1 answers instead of host/n2",
  );
});

test("a server may admit some principals only", async () => {
  await using rpc = await served(vm, "127.0.0.1:0", ({ name }) => name === "svc/checkpoint");
  expect(await ask(clientOf(rpc.address, { tls: checkpoint }))).toBe("svc/checkpoint");
  const registry = await identityOf("svc/registry");
  await expect(ask(clientOf(rpc.address, { tls: registry }))).rejects.toMatchObject({ reason: "PERMISSION_DENIED" });
});

test("a renewed certificate is used without a restart, by servers and clients", async () => {
  const [server, client] = await Promise.all([identityOf("svc/scheduler"), identityOf("svc/operation")]);
  await using rpc = await served(server);
  expect(await ask(clientOf(rpc.address, { tls: client }))).toBe("svc/operation");
  const before = server.pem.cert;
  await Promise.all([
    authority.issue("svc/scheduler", { days, names: ["localhost"], force: true }),
    authority.issue("svc/operation", { days, force: true }),
  ]);
  await eventually(() => !server.pem.cert.equals(before));
  await expect(ask(clientOf(rpc.address, { tls: client }))).rejects.toThrow("does not match certificate's altnames");
  const named = rpc.address.replace("127.0.0.1", "localhost");
  expect(await ask(clientOf(named, { tls: client }))).toBe("svc/operation");
});
