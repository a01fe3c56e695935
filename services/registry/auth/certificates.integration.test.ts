import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { request as startRequest } from "node:https";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { buffer } from "node:stream/consumers";
import { afterAll, beforeAll, expect, it } from "vitest";
import { AccountsDefinition } from "#contracts/registry/v1/accounts";
import { digestOf } from "#libs/oci";
import { createRpcClient } from "#libs/rpc";
import { startNats, startRedis, temporaryFolder } from "#libs/testing";
import { Authority, type Identity, type TlsFiles, TlsIdentity } from "#libs/tls";
import { basicLogin } from "../testing/registry-user.ts";

const ending = new AsyncDisposableStack();
const folder = ending.use(temporaryFolder());
const authority = new Authority(join(folder.path, "ca"));
let env: NodeJS.ProcessEnv;

const issue = (name: Identity): Promise<TlsFiles> =>
  authority.issue(name, { days: 2, names: ["127.0.0.1"], force: true });

beforeAll(async () => {
  await authority.create({ days: 2 });
  const { ca, cert, key } = await issue("svc/registry");
  const nats = ending.use(await startNats());
  const redis = ending.use(await startRedis());
  env = {
    ...process.env,
    TLS_CA: ca,
    TLS_CERT: cert,
    TLS_KEY: key,
    NATS_URL: nats.url,
    REDIS_URL: redis.url,
    REGISTRY_ADDRESS: "127.0.0.1:0",
    // With TLS it may be anywhere.
    REGISTRY_HTTP_ADDRESS: "0.0.0.0:0",
    REGISTRY_DATA: join(folder.path, "data"),
    LOG_LEVEL: "silent",
  };
});
afterAll(() => ending.disposeAsync());

async function startProcess(settings: NodeJS.ProcessEnv) {
  const main = join(import.meta.dirname, "../main.ts");
  const child = spawn(process.execPath, [main], { env: { ...env, ...settings }, stdio: ["ignore", "pipe", "inherit"] });
  const ended = once(child, "exit");
  const [line] = (await once(createInterface(child.stdout), "line")) as [string];
  const [, rpc = "", port = ""] = /on (\S+) \(gRPC\) and \S+:(\d+) \(OCI\)/.exec(line) ?? [];
  return {
    rpc,
    url: `https://127.0.0.1:${port}`,
    async [Symbol.asyncDispose]() {
      child.kill("SIGTERM");
      await ended;
    },
  };
}

async function ask(url: string, path: string, { as, method = "GET", headers = {}, body = "" }: Ask = {}) {
  const [ca, cert, key] = [env.TLS_CA, as?.cert, as?.key].map((file) =>
    file === undefined ? undefined : readFileSync(file),
  );
  const { promise, resolve, reject } = Promise.withResolvers<{ status: number; challenge: string; body: string }>();
  const sent = { method, headers: { "content-length": Buffer.byteLength(body), ...headers } };
  const options = { ...sent, ...(ca && { ca }), ...(cert && key && { cert, key }), agent: false };
  const outgoing = startRequest(`${url}${path}`, options, (answer) => {
    buffer(answer).then((bytes) => {
      const challenge = String(answer.headers["www-authenticate"] ?? "");
      resolve({ status: answer.statusCode ?? 0, challenge, body: bytes.toString() });
    }, reject);
  });
  outgoing.on("error", reject).end(body);
  return await promise;
}

interface Ask {
  readonly as?: TlsFiles;
  readonly method?: string;
  readonly headers?: Record<string, string>;
  readonly body?: string;
}

const upload = `/v2/any/thing/blobs/uploads/?digest=${digestOf(Buffer.from("blob"))}`;

it.each(["none", "token"])(
  "certificates let in, services all the way and hosts as far as they need: %s",
  async (auth) => {
    await using registry = await startProcess({ REGISTRY_AUTH: auth });
    const { url } = registry;
    const [host, vm, proxy] = [await issue("host/n1"), await issue("svc/vm"), await issue("svc/proxy")];
    expect((await ask(url, "/v2/", { as: vm })).status).toBe(200);
    expect((await ask(url, upload, { as: host, method: "POST", body: "blob" })).status).toBe(201);
    expect((await ask(url, `/v2/any/thing/blobs/${digestOf(Buffer.from("blob"))}`, { as: host })).body).toBe("blob");
    const gone = await ask(url, "/v2/any/thing/manifests/v1", { as: host, method: "DELETE" });
    expect([403, 404]).toContain(gone.status);
    const removed = await ask(url, `/v2/any/thing/blobs/${digestOf(Buffer.from("blob"))}`, {
      as: vm,
      method: "DELETE",
    });
    expect(removed.status).toBe(202);
    for (const as of [undefined, proxy]) {
      const refused = await ask(url, "/v2/", as && { as });
      expect(refused.status).toBe(401);
      expect(refused.challenge).toBe(
        auth === "none" ? "" : `Bearer realm="${url}/token",service="stillpoint-registry"`,
      );
    }
  },
);

it("accounts come without a certificate, over TLS", async () => {
  await using registry = await startProcess({ REGISTRY_AUTH: "token" });
  const tls = ending.adopt(new TlsIdentity(await issue("admin/ada")), (it) => it.close());
  const accounts = createRpcClient(AccountsDefinition, registry.rpc, { tls });
  const rights = [{ repositories: "a/*", actions: ["REPOSITORY_ACTION_PULL" as const] }];
  const { secret } = await accounts.createAccount({ name: "registry/accounts/ci", kind: "ACCOUNT_KIND_ROBOT", rights });
  accounts.close();
  const { url } = registry;
  const { status, body } = await ask(url, "/token?scope=repository:a/b:pull", { headers: basicLogin("ci", secret) });
  expect(status).toBe(200);
  const headers = { authorization: `Bearer ${JSON.parse(body).token}` };
  expect((await ask(url, "/v2/a/b/manifests/v1", { headers })).body).toContain("MANIFEST_UNKNOWN");
  expect((await ask(url, upload, { method: "POST", headers, body: "blob" })).body).toContain("DENIED");
});
