// onnxruntime-web (WebAssembly, as in a browser) for benchmarks.deploy_bench: node runtime_process.mjs NODE_MODULES MODEL INPUTS
// After loading, it runs once, writes the images next to INPUTS (NumPy's format) and prints a line of JSON. Then it runs once for each line
// of its standard input, and prints the seconds: CPU time and wall time.
import fs from "node:fs";
import path from "node:path";
import readline from "node:readline";
import { createRequire } from "node:module";

const [modules, model, inputs] = process.argv.slice(2);
const ort = createRequire(path.resolve(modules, "x.js"))("onnxruntime-web");
ort.env.wasm.numThreads = 1; // threads that spin while waiting would count as CPU time
const started = performance.now();
const session = await ort.InferenceSession.create(fs.readFileSync(model), { executionProviders: ["wasm"] });
const feeds = {};
for (const [name, { data, shape }] of Object.entries(JSON.parse(fs.readFileSync(inputs)))) {
  if (!session.inputNames.includes(name)) continue;
  feeds[name] =
    name === "cutoff"
      ? new ort.Tensor("int64", BigInt64Array.from(data.map(BigInt)), shape)
      : new ort.Tensor("float32", Float32Array.from(data), shape);
}
const run = async () => (await session.run(feeds, ["images"])).images;
writeNpy(path.join(path.dirname(inputs), "inputs.npz.onnxruntime-web.npy"), await run());
reply({ load_seconds: (performance.now() - started) / 1000 });
for await (const _ of readline.createInterface({ input: process.stdin })) {
  const cpu = process.cpuUsage();
  const clock = performance.now();
  await run();
  const { user, system } = process.cpuUsage(cpu);
  reply({ cpu_seconds: (user + system) / 1e6, seconds: (performance.now() - clock) / 1000 });
}

function reply(values) {
  fs.writeSync(1, JSON.stringify(values) + "\n");
}

function writeNpy(file, tensor) {
  const about = `{'descr': '<f4', 'fortran_order': False, 'shape': (${tensor.dims.join(", ")},), }`;
  const header = about.padEnd(Math.ceil((about.length + 11) / 64) * 64 - 11) + "\n";
  const size = Buffer.alloc(2);
  size.writeUInt16LE(header.length);
  const start = Buffer.from([0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59, 1, 0]);
  fs.writeFileSync(file, Buffer.concat([start, size, Buffer.from(header, "latin1"), Buffer.from(tensor.data.buffer)]));
}
