import { describe, expect, test } from "vitest";
import { drillReceipt, judgeCommand, outputTail, withDrill } from "./drill.ts";
import { isSealed, type JsonObject, sealReceipt } from "./receipt.ts";

const hash = (text: string) => `hash:${text.length}:${text}`;
const time = new Date("2026-03-01T09:05:00Z");

describe("a check command", () => {
  test("that ends with 0 proves the checkpoint", () => {
    expect(judgeCommand(["check"], 0, "fine\n")).toMatchObject({
      passed: true,
      reason: "",
      exitCode: 0,
      output: "fine\n",
    });
  });

  test("that ends otherwise does not, and its last line says why", () => {
    expect(judgeCommand(["check"], 3, "looking\nno database\n")).toMatchObject({
      passed: false,
      reason: "command.failed",
      detail: "the check command ended with 3: no database",
      exitCode: 3,
    });
    expect(judgeCommand(["check"], 1, "").detail).toBe("the check command ended with 1");
  });

  test("may print as much as it likes: its end is kept", () => {
    expect(outputTail(`${"x".repeat(10_000)}end`)).toMatch(/^x{4093}end$/);
  });
});

describe("a receipt", () => {
  const receipt = sealReceipt({ version: 1, kind: "production" }, hash);

  test("tells of its drills, newest last, and is sealed anew", () => {
    const [failed, passed] = [judgeCommand(["check"], 1, ""), judgeCommand(["check"], 0, "")].map((result) =>
      drillReceipt(result, "operations/a", time),
    ) as [JsonObject, JsonObject];
    const renewed = withDrill(withDrill(receipt, failed, hash), passed, hash);
    expect(renewed).toMatchObject({ kind: "production", drills: [{ passed: false }, { passed: true, version: 1 }] });
    expect(renewed.digest).not.toBe(receipt.digest);
    expect(isSealed(renewed, hash)).toBe(true);
  });

  test("keeps the newest twenty", () => {
    let renewed: JsonObject = receipt;
    for (let count = 0; count < 25; count++) renewed = withDrill(renewed, { count }, hash);
    expect(renewed.drills).toHaveLength(20);
    expect(renewed.drills).toMatchObject({ 0: { count: 5 }, 19: { count: 24 } });
  });
});
