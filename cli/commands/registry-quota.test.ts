import { expect, test } from "vitest";
import type { Quota, SetQuotaRequest } from "#contracts/registry/v1/quotas";
import { fakeCluster } from "../testing/fake-cluster.ts";

const name = "registry/quotas/team-a";
const quota: Quota = { name, limitBytes: 50 * 2 ** 30, usedBytes: 2 ** 29, updateTime: undefined };

test("quota set, get, list, recount and delete", async () => {
  const requests: SetQuotaRequest[] = [];
  const recounted: string[] = [];
  await using cluster = await fakeCluster({
    quotas: {
      async setQuota(request) {
        requests.push(request);
        return quota;
      },
      getQuota: async () => ({ ...quota, limitBytes: 0 }),
      listQuotas: async () => ({ quotas: [quota] }),
      async recountQuota(request) {
        recounted.push(request.name);
        return quota;
      },
      deleteQuota: async () => ({}),
    },
  });
  const run = async (line: string) => (await cluster.run(["registry", "quota", ...line.split(" ")])).out;
  expect(await run("set team-a 50GiB")).toMatch(/^Project: +team-a\nUsed: +512 MiB\nLimit: +50 GiB\n$/);
  expect(requests).toEqual([{ name, limitBytes: 50 * 2 ** 30 }]);
  expect(await run("get team-a")).toMatch(/Limit: +none/);
  expect(await run("list")).toMatch(/^PROJECT +USED +LIMIT\nteam-a +512 MiB +50 GiB\n$/);
  expect(JSON.parse(await run("recount team-a -o json"))).toMatchObject({ name, usedBytes: 2 ** 29 });
  expect(recounted).toEqual([name]);
  expect(await run("delete team-a")).toBe("Project team-a has no limit any more.\n");
  expect((await cluster.run(["registry", "quota", "set", "team-a", "lots"])).code).toBe(2);
});
