import { afterEach, expect, test } from "vitest";
import { silentLogger } from "#libs/logger";
import { RpcServer } from "#libs/rpc";
import { temporaryFolder } from "#libs/testing";
import { Authority, takeIdentity } from "#libs/tls";
import { readAgentConfig } from "./config.ts";
import { listen, mayCall } from "./reached-by.ts";

afterEach(() => takeIdentity({}));

async function listenAs(host: string, address: string, reachedAt = ""): Promise<string> {
  await using folder = temporaryFolder();
  const authority = new Authority(folder.path);
  await authority.create({ days: 2 });
  const { ca, cert, key } = await authority.issue(`host/${host}`, { days: 2 });
  takeIdentity({ TLS_CA: ca, TLS_CERT: cert, TLS_KEY: key });
  const env = { AGENT_DATA: folder.path, AGENT_HOST_NAME: "n1", AGENT_ADDRESS: address, AGENT_REACHED_AT: reachedAt };
  const server = new RpcServer({ logger: silentLogger, admits: mayCall });
  try {
    return await listen(server, readAgentConfig(env));
  } finally {
    await server.close();
  }
}

test("an agent tells where services dial it", async () => {
  expect(await listenAs("n1", "0.0.0.0:0", "n1.example:7071")).toBe("n1.example:7071");
  expect(await listenAs("n1", "127.0.0.1:0")).toMatch(/^127\.0\.0\.1:\d+$/);
  expect(await listenAs("n1", "")).toMatch(/^unix:.*agent\.sock$/);
});

test("an agent refuses to listen where services would not find or believe it", async () => {
  await expect(listenAs("n1", "0.0.0.0:0")).rejects.toThrow("AGENT_REACHED_AT is not set");
  await expect(listenAs("n2", "127.0.0.1:0")).rejects.toThrow(
    'the certificate is for host/n2: make one with "stillpoint cert host n1"',
  );
});

test("only the services that have work for an agent may call it", () => {
  const named = (name: string) => mayCall({ name, kind: "service" });
  const callers = ["svc/vm", "svc/container", "svc/checkpoint", "svc/scheduler", "svc/operation"];
  expect(callers.every(named)).toBe(true);
  expect(["svc/registry", "svc/proxy"].some(named)).toBe(false);
  expect(mayCall({ name: "admin/ada", kind: "admin" })).toBe(false);
  expect(mayCall({ name: "local", kind: "local" })).toBe(true);
});
