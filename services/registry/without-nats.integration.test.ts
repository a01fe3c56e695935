import { jetstreamManager } from "@nats-io/jetstream";
import { afterAll, beforeAll, expect, it } from "vitest";
import { AccountKind, AccountsDefinition, RepositoryAction } from "#contracts/registry/v1/accounts";
import { ImagesDefinition } from "#contracts/registry/v1/registry";
import { openNats } from "#libs/records";
import { createRpcClient } from "#libs/rpc";
import { eventually, startNats, type TestServer } from "#libs/testing";
import { pushManifest } from "./http/oci-fixture.ts";
import { startTestRegistry } from "./testing/registry-fixture.ts";
import { basicLogin, sendOnce } from "./testing/registry-user.ts";

let ending: AsyncDisposableStack;
let nats: TestServer;
let open: Awaited<ReturnType<typeof startTestRegistry>>;
let locked: typeof open;

beforeAll(async () => {
  ending = new AsyncDisposableStack();
  nats = ending.use(await startNats());
  await nats.stop();
  const settings = { NATS_URL: nats.url, REGISTRY_EVENTS: "nats" };
  const started = [{}, { REGISTRY_AUTH: "token" }].map((more) => startTestRegistry({ ...settings, ...more }));
  [open, locked] = (await Promise.all(started)) as [typeof open, typeof open];
  for (const registry of [open, locked]) ending.use(registry);
});
afterAll(() => ending?.disposeAsync());

/** Subjects of the records of repositories: each message is a push. */
async function pushesTold(): Promise<string[]> {
  await using stack = new AsyncDisposableStack();
  const connection = stack.adopt(await openNats({ url: nats.url }), (it) => it.close());
  const { streams } = await jetstreamManager(connection);
  const { state } = await streams.info("REC", { subjects_filter: "rec.projects.>" });
  return Object.keys(state.subjects ?? {});
}

it("serves while NATS was never there, and tells of it when NATS comes", async () => {
  const { response, digest } = await pushManifest(open.url, "team/early", "v1");
  expect(response.status).toBe(201);
  expect((await sendOnce(open.url, "GET", "/v2/team/early/manifests/v1")).headers["docker-content-digest"]).toBe(
    digest,
  );
  const images = ending.adopt(createRpcClient(ImagesDefinition, open.address), (it) => it.close());
  expect(await images.getImage({ reference: "team/early:v1" })).toMatchObject({ digest });

  const login = { name: "early", secret: "a secret that is long" };
  const logIn = () => sendOnce(locked.url, "GET", "/v2/", { headers: basicLogin(login.name, login.secret) });
  for (const path of ["/v2/", "/v2/team/early/manifests/v1", "/token"]) {
    const { status, code, headers } = await sendOnce(locked.url, "GET", path);
    expect([status, code, headers["retry-after"]]).toEqual([503, "UNAVAILABLE", "5"]);
  }
  const accounts = ending.adopt(createRpcClient(AccountsDefinition, locked.address), (it) => it.close());
  await expect(accounts.listAccounts({})).rejects.toMatchObject({ reason: "UNAVAILABLE" });

  await nats.start();
  const told = await eventually(
    async () =>
      await pushesTold().then(
        (all) => all.length > 0 && all,
        () => false,
      ),
  );
  expect(told).toEqual(["rec.projects.team.repositories.early"]);
  const rights = [{ repositories: "*", actions: [RepositoryAction.PULL] }];
  const account = { name: "registry/accounts/early", kind: AccountKind.USER, rights, secret: login.secret };
  await eventually(() => accounts.createAccount(account));
  expect((await logIn()).status).toBe(200);
  expect((await sendOnce(locked.url, "GET", "/v2/")).status).toBe(401);
});
