/** Runs the import rules, and fails too when a rule has seen nothing: a rule over no files passes for ever. */
import { createRequire } from "node:module";
import type { Statement, VariableDeclarator } from "@swc/core";
import { Visitor } from "@swc/core/Visitor.js";
import { cruise, format, type ICruiseOptions, type ICruiseResult } from "dependency-cruiser";
import extractTSConfig from "dependency-cruiser/config-utl/extract-ts-config";

interface Rule {
  readonly name: string;
  readonly from: { readonly path?: string };
}
const { forbidden, options } = createRequire(import.meta.url)("../.dependency-cruiser.cjs") as {
  forbidden: Rule[];
  options: ICruiseOptions;
};

// swc parses `using`, but its visitor, by which dependency-cruiser walks, does not know the statement yet.
const { visitStatement } = Visitor.prototype as { visitStatement: (this: Visitor, statement: Statement) => Statement };
Visitor.prototype.visitStatement = function (statement) {
  if ((statement.type as string) !== "UsingDeclaration") return visitStatement.call(this, statement);
  const { decls } = statement as unknown as { decls: VariableDeclarator[] };
  this.visitVariableDeclarators(decls);
  return statement;
};

const found = await cruise(
  ["libs", "services", "cli", "test"],
  { ...options, validate: true, ruleSet: { forbidden } as NonNullable<ICruiseOptions["ruleSet"]> },
  undefined,
  { tsConfig: extractTSConfig("./tsconfig.json") },
);
const result = found.output as ICruiseResult;
const sources = result.modules.map(({ source }) => source).filter((source) => !source.includes("node_modules"));
const blind = forbidden.filter(({ from }) => !sources.some((source) => new RegExp(from.path ?? "").test(source)));
for (const { name } of blind) console.error(`rule ${name} has seen no file`);

const report = await format(result, { outputType: "err" });
console.log(report.output);
console.log(`import rules: ${forbidden.length} over ${sources.length} files`);
process.exitCode = report.exitCode > 0 || blind.length > 0 || sources.length === 0 ? 1 : 0;
