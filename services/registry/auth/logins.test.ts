import { describe, expect, it } from "vitest";
import { systemClock } from "#libs/clock";
import type { StoredAccount } from "./account-store.ts";
import { Logins } from "./logins.ts";
import { hashSecret, isSecret, makeSecret } from "./secrets.ts";

async function accountWith(secret: string): Promise<StoredAccount> {
  const principal = { name: "registry/accounts/ann", kind: "user", grants: [] } as const;
  return { record: { account: undefined, secretHash: await hashSecret(secret) }, principal, stamp: "x" };
}

function loginsOver(find: (name: string) => StoredAccount | undefined) {
  const failed: string[] = [];
  const failures = {
    retryAfterSeconds: 60,
    areTooMany: async (name: string) => failed.filter((each) => each === name).length >= 3,
    add: async (name: string) => void failed.push(name),
  };
  return { failed, logins: new Logins({ accounts: { find }, failures, clock: systemClock }) };
}

describe("secrets", () => {
  it("are kept as salted hashes", async () => {
    const [first, second] = [await hashSecret("a secret"), await hashSecret("a secret")];
    expect(first).toMatch(/^scrypt\$16384\$8\$5\$[\w-]{22}\$[\w-]{43}$/);
    expect(first).not.toBe(second);
    expect([await isSecret("a secret", first), await isSecret("another", first)]).toEqual([true, false]);
    expect(makeSecret()).not.toBe(makeSecret());
    await expect(isSecret("x", "plain")).rejects.toThrow("not a hash");
  });
});

describe("logins", () => {
  it("a right one costs a hash once, until the account has another secret", async () => {
    let account = await accountWith("right");
    const { logins, failed } = loginsOver(() => account);
    const login = { name: "ann", secret: "right" };
    await logins.check(login);
    // A hash for each would take longer than a test may.
    for (let time = 0; time < 1_000; time += 1) await logins.check(login);
    account = await accountWith("other");
    await expect(logins.check(login)).rejects.toMatchObject({ code: "UNAUTHORIZED" });
    expect(failed).toEqual(["ann"]);
  });

  it("wrong ones and names that nobody has are refused alike, and after some with 429", async () => {
    const account = await accountWith("right");
    const { logins } = loginsOver((name) => (name === "ann" ? account : undefined));
    for (const name of ["ann", "nobody"]) {
      const refusals: unknown[] = [];
      for (let time = 0; time < 4; time += 1) {
        refusals.push(await logins.check({ name, secret: "wrong" }).catch(({ code }) => code));
      }
      expect(refusals).toEqual([...Array(3).fill("UNAUTHORIZED"), "TOOMANYREQUESTS"]);
    }
  });

  it("a flood does not pile up", async () => {
    const { logins } = loginsOver(() => undefined);
    const flood = Array.from({ length: 70 }, (_, number) =>
      logins.check({ name: `guess-${number}`, secret: "x".repeat(300) }).catch(({ code }) => code),
    );
    const codes = await Promise.all(flood);
    expect(codes.filter((code) => code === "TOOMANYREQUESTS").length).toBeGreaterThan(0);
    expect(codes.filter((code) => code === "UNAUTHORIZED")).toHaveLength(64);
  });
});
