import { describe, expect, it } from "vitest";
import { readChallenge, tokenPath } from "./challenge.ts";

const registry = new URL("http://127.0.0.1:7080");

describe("a registry's challenge", () => {
  it("says where and for what a token is had", () => {
    const header =
      'Bearer realm="http://127.0.0.1:7080/token",service="r",scope="repository:a/b:pull,push repository:c:pull"';
    const challenge = readChallenge(header, registry);
    expect(challenge).toMatchObject({ service: "r" });
    expect(challenge && tokenPath(challenge)).toBe(
      "/token?service=r&scope=repository%3Aa%2Fb%3Apull%2Cpush&scope=repository%3Ac%3Apull",
    );
  });

  it.each(["/token", "https://auth.example/token"])("names a realm that may have the login: %s", (realm) => {
    expect(readChallenge(`bearer realm="${realm}"`, registry)?.realm.href).toBe(new URL(realm, registry).href);
  });

  it.each([
    ['Basic realm="x"', registry],
    ["", registry],
    ['Bearer realm="http://elsewhere/token"', registry],
    ['Bearer realm="http://127.0.0.1:7081/token"', registry],
    ['Bearer realm="http://registry.example/token"', new URL("https://registry.example")],
    ['Bearer realm="file:///etc/passwd"', registry],
    ['Bearer realm="http://["', registry],
  ] as const)("gives no login to %s", (header, from) => {
    expect(readChallenge(header, from)).toBeUndefined();
  });
});
