import { expect, test } from "vitest";

import { problemOf, problemOfAnswer } from "../e2e/protocol";

const POST = (body: unknown) => ({ method: "POST", path: "/v1/models/m:predict", body: JSON.stringify(body) });

test("documented forms of TensorFlow Serving", () => {
  const forms = [
    { method: "GET", path: "/v1/models/m", body: "" },
    { method: "GET", path: "/v1/models/m/versions/3/metadata", body: "" },
    { method: "POST", path: "/v1/models/m/labels/stable:predict", body: '{"inputs": {"x": [1]}}' },
    POST({
      signature_name: "s",
      inputs: {
        x: [
          [1, 2],
          [3, 4],
        ],
        y: [{ b64: "AQ==" }, "text"],
      },
    }),
    POST({ instances: [{ x: 1 }, { x: 2 }] }),
    POST({ inputs: 1 }),
  ];
  expect(forms.map(problemOf)).toEqual(forms.map(() => ""));
});

test("what is not documented is found", () => {
  const wrong = [
    { method: "GET", path: "/v1/models/m?x=1", body: "" },
    { method: "GET", path: "/v1/models/m/versions/x", body: "" },
    { method: "OPTIONS", path: "/v1/models/m:predict", body: "" },
    { method: "POST", path: "/v1/models/m:generate", body: "{}" },
    POST([]),
    POST({ inputs: { x: [[1], [2, 3]] } }),
    POST({ inputs: { x: [1, "a"] } }),
    POST({ inputs: { x: {} } }),
    POST({ inputs: { x: 1 }, instances: [1] }),
    POST({ inputs: { x: 1 }, scale: 2 }),
    POST({ signature_name: 1, inputs: { x: 1 } }),
  ];
  expect(wrong.map(problemOf).filter((problem) => !problem)).toEqual([]);
  expect(problemOfAnswer("/v1/models/m:predict", 200, '{"outputs": [1]}')).toBe("");
  expect(problemOfAnswer("/v1/models/m:predict", 400, '{"error": "no"}')).toBe("");
  expect(problemOfAnswer("/v1/models/m:predict", 400, '{"message": "no"}')).not.toBe("");
  expect(problemOfAnswer("/v1/models/m/metadata", 200, '{"metadata": {}}')).not.toBe("");
});
