// node grpc_js.js HOST:PORT INPUTS DESCRIPTORS MODULES: images, styles and a PNG of @grpc/grpc-js with the public protocol.
const [address, inputs, descriptors, modules] = process.argv.slice(2);
const grpc = require(modules + "/@grpc/grpc-js");
const loader = require(modules + "/@grpc/proto-loader");
const values = JSON.parse(inputs);
const set = loader.loadFileDescriptorSetFromBuffer(require("fs").readFileSync(descriptors), { keepCase: true });
const { PredictionService } = grpc.loadPackageDefinition(set).tensorflow.serving;
const client = new PredictionService(address, grpc.credentials.createInsecure());

function floats(rows) {
  const sizes = Array.isArray(rows[0]) ? [rows.length, rows[0].length] : [rows.length];
  return { dtype: 1, tensor_shape: { dim: sizes.map((size) => ({ size })) }, float_val: rows.flat() };
}

function predict(signature_name, inputs) {
  // Descriptors declare a map as a list of entries, which is the same on the wire.
  const entries = Object.entries(inputs).map(([key, value]) => ({ key, value }));
  const request = { model_spec: { name: "fake", signature_name }, inputs: entries };
  const deadline = Date.now() + 20000;
  return new Promise((resolve, reject) =>
    client.Predict(request, { deadline }, (error, answer) => 
      error ? reject(error) : resolve(Object.fromEntries(answer.outputs.map(({ key, value }) => [key, value])))));
}

(async () => {
  const [z, psi, label] = ["z", "psi", "label"].map((name) => floats(values[name]));
  const seed = { dtype: 9, tensor_shape: { dim: [{ size: 2 }] }, int64_val: [3, 4] };
  const images = (await predict("generate", { z, psi, label })).images.int_val;
  const ws = (await predict("map", { z, psi, label })).ws.float_val;
  const png = (await predict("generate_png", { seed, psi, label })).png_bytes.string_val[0].toString("base64");
  console.log(JSON.stringify({ images, ws, png }));
  client.close();
})();
