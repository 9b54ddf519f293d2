/** NumPy's legacy generator: `numpy.random.RandomState(seed).standard_normal`, bit for bit. */

const STATE_WORDS = 624;
const SHIFT = 397;

/** MT19937 (Matsumoto and Nishimura 1998) with NumPy's seeding, 53-bit doubles and polar method. */
export class RandomState {
  private readonly words = new Uint32Array(STATE_WORDS);
  private next = STATE_WORDS;
  private spare: number | null = null;

  /** @param seed integer from 0 to 2**32 - 1 */
  constructor(seed: number) {
    checkSeed(seed);
    this.words[0] = seed;
    for (let i = 1; i < STATE_WORDS; i++) {
      const word = this.words[i - 1]!;
      this.words[i] = Math.imul(word ^ (word >>> 30), 1812433253) + i;
    }
  }

  /** Return a number in [0, 1) with 53 random bits. */
  uniform(): number {
    const high = this.word() >>> 5;
    const low = this.word() >>> 6;
    return (high * 67108864 + low) / 9007199254740992;
  }

  /** Return a number from the standard normal distribution, by Marsaglia's polar method. */
  standardNormal(): number {
    if (this.spare !== null) {
      const value = this.spare;
      this.spare = null;
      return value;
    }
    for (;;) {
      const x1 = 2 * this.uniform() - 1;
      const x2 = 2 * this.uniform() - 1;
      const squared = x1 * x1 + x2 * x2;
      if (squared >= 1 || squared === 0) continue;
      const factor = Math.sqrt((-2 * Math.log(squared)) / squared);
      this.spare = factor * x1;
      return factor * x2;
    }
  }

  private word(): number {
    if (this.next === STATE_WORDS) this.twist();
    let word = this.words[this.next++]!;
    word ^= word >>> 11;
    word ^= (word << 7) & 0x9d2c5680;
    word ^= (word << 15) & 0xefc60000;
    return (word ^ (word >>> 18)) >>> 0;
  }

  private twist(): void {
    for (let i = 0; i < STATE_WORDS; i++) {
      const joined = (this.words[i]! & 0x80000000) | (this.words[(i + 1) % STATE_WORDS]! & 0x7fffffff);
      const feedback = joined & 1 ? 0x9908b0df : 0;
      this.words[i] = this.words[(i + SHIFT) % STATE_WORDS]! ^ (joined >>> 1) ^ feedback;
    }
    this.next = 0;
  }
}

/** Return the latent of a seed, as sg3tf.latents.z_from_seeds draws it: float32 [z_dim]. */
export function latentFromSeed(seed: number, zDim: number): Float32Array {
  const random = new RandomState(seed);
  return Float32Array.from({ length: zDim }, () => random.standardNormal());
}

export const LAST_SEED = 2 ** 32 - 1;

/** Throw a RangeError if the number is not a seed. */
export function checkSeed(seed: number): void {
  if (!Number.isInteger(seed) || seed < 0 || seed > LAST_SEED) {
    throw new RangeError(`seed ${seed}: give a whole number from 0 to ${LAST_SEED}`);
  }
}
