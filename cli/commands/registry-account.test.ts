import { expect, test } from "vitest";
import type {
  Account,
  CreateAccountRequest,
  SetAccountRightsRequest,
  SetAccountSecretRequest,
} from "#contracts/registry/v1/accounts";
import { fakeCluster } from "../testing/fake-cluster.ts";

const robot: Account = {
  name: "registry/accounts/ci",
  kind: "ACCOUNT_KIND_ROBOT",
  rights: [{ repositories: "team-a/*", actions: ["REPOSITORY_ACTION_PULL", "REPOSITORY_ACTION_PUSH"] }],
  createTime: new Date(),
  expireTime: undefined,
};

test("account create sends rights and kind, and shows the secret that was made up", async () => {
  const requests: CreateAccountRequest[] = [];
  await using cluster = await fakeCluster({
    accounts: {
      async createAccount(request) {
        requests.push(request);
        return { account: robot, secret: request.secret === "" ? "spr_x" : "" };
      },
    },
  });
  const line = "registry account create ci --robot --right team-a/*:pull,push --right base:pull --expires 1h";
  expect(await cluster.run(line.split(" "))).toEqual({
    code: 0,
    out: "Account ci is made.\nSecret, which is not shown again: spr_x\n",
    err: "",
  });
  expect(requests[0]).toMatchObject({
    name: "registry/accounts/ci",
    kind: "ACCOUNT_KIND_ROBOT",
    rights: [robot.rights[0], { repositories: "base", actions: ["REPOSITORY_ACTION_PULL"] }],
  });
  expect((requests[0]?.expireTime?.getTime() ?? 0) - Date.now()).toBeGreaterThan(3_500_000);
  const readInput = async () => Buffer.from("a long password\n");
  const user = await cluster.run(["registry", "account", "create", "ann", "--password-stdin"], { readInput });
  expect(user.out).toBe("Account ann is made.\n");
  expect(requests[1]).toMatchObject({ kind: "ACCOUNT_KIND_USER", secret: "a long password", rights: [] });
});

test("account list, get and delete", async () => {
  const deleted: string[] = [];
  await using cluster = await fakeCluster({
    accounts: {
      listAccounts: async () => ({ accounts: [robot] }),
      getAccount: async () => robot,
      async deleteAccount({ name }) {
        deleted.push(name);
        return {};
      },
    },
  });
  const listed = await cluster.run(["registry", "account", "list"]);
  expect(listed.out).toMatch(/NAME\s+KIND\s+RIGHTS\s+AGE\nci\s+robot\s+team-a\/\*:pull,push\s+0s/);
  const got = await cluster.run(["registry", "account", "get", "ci", "-o", "json"]);
  expect(JSON.parse(got.out)).toMatchObject({ name: robot.name, rights: robot.rights });
  expect((await cluster.run(["registry", "account", "delete", "ci"])).out).toBe("Account ci is deleted.\n");
  expect(deleted).toEqual([robot.name]);
});

test("account set changes rights, the secret, or both; nothing and nonsense are usage errors", async () => {
  const rights: SetAccountRightsRequest[] = [];
  const secrets: SetAccountSecretRequest[] = [];
  await using cluster = await fakeCluster({
    accounts: {
      async setAccountRights(request) {
        rights.push(request);
        return robot;
      },
      async setAccountSecret(request) {
        secrets.push(request);
        return { account: robot, secret: "spr_new" };
      },
    },
  });
  const set = (...args: string[]) => cluster.run(["registry", "account", "set", "ci", ...args]);
  expect((await set("--right", "*:pull")).out).toBe("Account ci is changed.\n");
  expect(rights[0]?.rights).toEqual([{ repositories: "*", actions: ["REPOSITORY_ACTION_PULL"] }]);
  expect((await set("--new-secret")).out).toContain("spr_new");
  expect(secrets).toEqual([{ name: robot.name, secret: "" }]);
  expect((await set()).code).toBe(2);
  expect((await set("--right", "team-a/*")).code).toBe(2);
  expect((await set("--right", "team-a/*:fly")).code).toBe(2);
  expect((await set("--password-stdin")).code).toBe(2);
});
