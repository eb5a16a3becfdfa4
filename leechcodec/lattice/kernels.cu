// The nearest codeword (maximum.py) and the log-sum-exp over the codebook with its gradient (summation.py) on a GPU, with
// one token a block of threads: the threads share out the classes that the lane loops there run over.
//
//   z ─▶ byte_maxima ─▶ scores of 64 triples, 108 groups of octads, the pairs ─▶ best of all ─▶ code
//
//   exp(scores) ─▶ take_out_zero ─▶ grow ─▶ fold ─▶ combine ─▶ add_up, pairs ─▶ value             float64 throughout
//                                   ungrow ◀─ unfold ◀─┘                     ─▶ marginals
//
// Compiled for one thread on a processor (HOST) it is the same program, which is how the tests run it.

#ifdef HOST
#include <cmath>
using namespace std;
#define DEVICE static
#define SYNC()
#define FIRST 0
#define STRIDE 1
#else
#define DEVICE static __device__ __forceinline__
#define SYNC() __syncthreads()
#define FIRST ((int)threadIdx.x)
#define STRIDE ((int)blockDim.x)
#endif
#define EACH(n, count) for (int n = FIRST; n < (count); n += STRIDE)

enum { P, F, E, O };

struct Turyn {  // structure.py's tables, one behind the other
    unsigned char halves[64][2][2], octad_halves[64][2][2], partners[16][8], partner_classes[2][2][16][8];
    unsigned char twos[8][4], fours[8][4], byte[64], supports[759][8];
    unsigned char padding[8];  // to a multiple of 64
    short groups[108][8];
};

static_assert(sizeof(Turyn) == 9088, "cuda_kernels.tables() writes so many bytes");

// --- Nearest codeword ------------------------------------------------------------------------------------------------

#define LOWEST (-3e38f)
#define CANDIDATES 173  // 64 triples' third classes, 108 groups of octads, the pairs

struct Search {
    float z[24], table[3][4][64], top[CANDIDATES];
    int winner[CANDIDATES];
};

DEVICE void load_direction(Search& s, const float* z) {  // to unit maximum, so that no sum leaves float32's range
    float largest = 0;
    for (int i = 0; i < 24; i++) largest = fmaxf(largest, fabsf(z[i]));
    EACH(i, 24) s.z[i] = (float)(z[i] / (double)largest);
}

DEVICE void byte_maxima(Search& s, const Turyn& turyn) {  // of each class: P, F of both its bytes, E, O of those in octads
    EACH(item, 192) {
        int j = item / 64, k = item % 64;
        float p = LOWEST, f = LOWEST, e = LOWEST, o = LOWEST;
        for (int side = 0; side < 2; side++) {
            int byte = turyn.byte[k] ^ (side ? 255 : 0), weight = 0, odd = 0;
            float sum = 0, gain = LOWEST, size = 0, least = -LOWEST;
            for (int t = 0; t < 8; t++) {
                float z = s.z[8 * j + t];
                if (byte >> t & 1) {
                    sum -= z, gain = fmaxf(gain, z), weight++, odd ^= z < 0;
                    size += fabsf(z), least = fminf(least, fabsf(z));
                } else
                    sum += z, gain = fmaxf(gain, -z);
            }
            p = fmaxf(p, sum), f = fmaxf(f, sum + 4 * gain);
            if (weight == 2 || weight == 4 || weight == 8) {
                e = fmaxf(e, 2 * size - (odd ? 4 * least : 0)), o = fmaxf(o, 2 * size - (odd ? 0 : 4 * least));
            }
        }
        s.table[j][P][k] = p, s.table[j][F][k] = f, s.table[j][E][k] = e, s.table[j][O][k] = o;
    }
}

DEVICE float best_triple(Search& s, int k) {  // class 3, by the third block's class
    float(&x)[4][64] = s.table[0], (&y)[4][64] = s.table[1], (&z)[4][64] = s.table[2];
    float p = LOWEST, f = LOWEST;
    for (int a = 0; a < 8; a++) {
        int m = (k & 56) + a, n = (k & 56) + (a ^ (k & 7));
        p = fmaxf(p, x[P][m] + y[P][n]), f = fmaxf(f, fmaxf(x[P][m] + y[F][n], x[F][m] + y[P][n]));
    }
    return fmaxf(p + z[F][k], f + z[P][k]);
}

DEVICE float both(const float (&x)[4][64], int a, const float (&y)[4][64], int b, int odd) {  // two bytes, given parity
    return odd ? fmaxf(x[E][a] + y[O][b], x[O][a] + y[E][b]) : fmaxf(x[E][a] + y[E][b], x[O][a] + y[O][b]);
}

DEVICE float best_octad(Search& s, const Turyn& turyn, int group) {  // class 2, by the row of Turyn.groups
    if (group >= 105) return s.table[group - 105][E][0];
    if (group >= 84) {
        int q = (group - 84) / 3 + 1, j = (group - 84) % 3;
        return both(s.table[(j + 1) % 3], q, s.table[(j + 2) % 3], q, 0);
    }
    int y = group / 12 + 1, j = group % 12 / 4, four = turyn.fours[y][group % 4];
    float e = LOWEST, o = LOWEST;
    for (int m = 0; m < 4; m++) {
        int a = 8 * y + turyn.twos[y][m], b = 8 * y + (turyn.twos[y][m] ^ four);
        e = fmaxf(e, both(s.table[(j + 1) % 3], a, s.table[(j + 2) % 3], b, 0));
        o = fmaxf(o, both(s.table[(j + 1) % 3], a, s.table[(j + 2) % 3], b, 1));
    }
    return fmaxf(e + s.table[j][E][8 * y + four], o + s.table[j][O][8 * y + four]);
}

DEVICE void write_pair(Search& s, signed char* code) {  // class 1: where |z| is largest and second largest
    int first = 0, second = -1;
    for (int i = 1; i < 24; i++)
        if (fabsf(s.z[i]) > fabsf(s.z[first]))
            second = first, first = i;
        else if (second < 0 || fabsf(s.z[i]) > fabsf(s.z[second]))
            second = i;
    for (int i = 0; i < 24; i++) code[i] = i != first && i != second ? 0 : s.z[i] < 0 ? -4 : 4;
}

DEVICE void write_octad(Search& s, const Turyn& turyn, int group, signed char* code) {
    float top = LOWEST;
    int octad = 0, changed = -1;
    for (int n = 0; n < 8 && turyn.groups[group][n] >= 0; n++) {
        const unsigned char* support = turyn.supports[turyn.groups[group][n]];
        float size = 0, least = -LOWEST;
        int cheapest = 0, odd = 0;
        for (int t = 0; t < 8; t++) {
            float z = s.z[support[t]];
            size += fabsf(z), odd ^= z < 0;
            if (fabsf(z) < least) least = fabsf(z), cheapest = support[t];
        }
        float score = 2 * size - (odd ? 4 * least : 0);
        if (score > top) top = score, octad = turyn.groups[group][n], changed = odd ? cheapest : -1;
    }
    for (int i = 0; i < 24; i++) code[i] = 0;
    for (int t = 0; t < 8; t++) {
        int i = turyn.supports[octad][t];
        code[i] = (s.z[i] < 0) != (i == changed) ? -2 : 2;
    }
}

DEVICE void write_triple(Search& s, const Turyn& turyn, int k, signed char* code) {
    float top = LOWEST;
    int a = 0, flipped = 0, row = k & 56, c = k & 7;
    for (int q = 0; q < 8; q++) {
        int classes[3] = {row + q, row + (q ^ c), k};
        for (int j = 0; j < 3; j++) {
            float score = 0;
            for (int i = 0; i < 3; i++) score += s.table[i][i == j ? F : P][classes[i]];
            if (score > top) top = score, a = q, flipped = j;
        }
    }
    int classes[3] = {row + a, row + (a ^ c), k};
    for (int j = 0; j < 3; j++) {
        float best = LOWEST;
        int chosen = 0, flip = 0;
        for (int side = 0; side < 2; side++) {
            int byte = turyn.byte[classes[j]] ^ (side ? 255 : 0), position = 0;
            float sum = 0, gain = LOWEST;
            for (int t = 0; t < 8; t++) {
                float z = byte >> t & 1 ? -s.z[8 * j + t] : s.z[8 * j + t];
                sum += z;
                if (-z > gain) gain = -z, position = t;
            }
            if (j == flipped) sum += 4 * gain;
            if (sum > best) best = sum, chosen = byte, flip = position;
        }
        for (int t = 0; t < 8; t++) code[8 * j + t] = (chosen >> t & 1 ? -1 : 1) * (j == flipped && t == flip ? -3 : 1);
    }
}

DEVICE void search(Search& s, const float* z, const Turyn& turyn, signed char* code) {
    load_direction(s, z);
    SYNC();
    byte_maxima(s, turyn);
    SYNC();
    EACH(n, CANDIDATES) {
        float score = 0;
        if (n < 64)
            score = best_triple(s, n);
        else if (n < 172)
            score = best_octad(s, turyn, n - 64);
        else {
            float first = 0, second = 0;
            for (int i = 0; i < 24; i++)
                second = fmaxf(second, fminf(first, fabsf(s.z[i]))), first = fmaxf(first, fabsf(s.z[i]));
            score = 4 * (first + second);
        }
        s.top[n] = score, s.winner[n] = n;
    }
    for (int half = 128; half; half /= 2) {
        SYNC();
        EACH(n, half)
            if (n + half < CANDIDATES && s.top[n + half] > s.top[n])
                s.top[n] = s.top[n + half], s.winner[n] = s.winner[n + half];
    }
    SYNC();
    if (FIRST == 0) {
        int winner = s.winner[0];
        if (winner < 64)
            write_triple(s, turyn, winner, code);
        else if (winner < 172)
            write_octad(s, turyn, winner - 64, code);
        else
            write_pair(s, code);
    }
}

// --- Log-sum-exp -----------------------------------------------------------------------------------------------------

struct Shared {
    double g[24][9], slope[24][9];
    double tree[6][4][32], d_tree[6][4][32];
    double table[3][4][64], rest[3][4][65];
    double part3[64], part12[64], zero;
};

DEVICE void take_out_zero(Shared& s) {
    EACH(i, 24) {
        double inverse = 1 / s.g[i][4];
        s.g[i][0] *= inverse, s.g[i][2] *= inverse, s.g[i][6] *= inverse, s.g[i][8] *= inverse;
    }
    if (FIRST == 0) {
        s.zero = 1;
        for (int i = 0; i < 24; i++) s.zero *= s.g[i][4];
    }
}

DEVICE void grow(Shared& s) {
    EACH(h, 6) {
        for (int c = 0; c < 4; c++) s.tree[h][c][0] = 0;
        s.tree[h][P][1] = s.tree[h][E][1] = 1, s.tree[h][F][1] = s.tree[h][O][1] = 0;
    }
    for (int t = 0; t < 4; t++) {
        SYNC();
        EACH(item, 6 << t) {
            int h = item >> t, n = (1 << t) + (item & ((1 << t) - 1)), m = 2 * n;
            double(&tree)[4][32] = s.tree[h], *g = s.g[4 * h + t];
            double p = tree[P][n], f = tree[F][n], e = tree[E][n], o = tree[O][n];
            tree[P][m] = p * g[5], tree[F][m] = f * g[5] + p * g[1];
            tree[E][m] = e, tree[O][m] = o;
            tree[P][m + 1] = p * g[3], tree[F][m + 1] = f * g[3] + p * g[7];
            tree[E][m + 1] = e * g[6] + o * g[2], tree[O][m + 1] = o * g[6] + e * g[2];
        }
    }
}

DEVICE void fold(Shared& s, const Turyn& turyn) {
    EACH(item, 192) {
        int j = item / 64, k = item % 64;
        double(&low)[4][32] = s.tree[2 * j], (&high)[4][32] = s.tree[2 * j + 1];
        double p = 0, f = 0, e = 0, o = 0;
        for (int side = 0; side < 2; side++) {
            int n = turyn.halves[k][side][0], m = turyn.halves[k][side][1];
            double x = low[P][n], y = high[P][m];
            p += x * y, f += x * high[F][m] + low[F][n] * y;
            n = turyn.octad_halves[k][side][0], m = turyn.octad_halves[k][side][1];
            e += low[E][n] * high[E][m] + low[O][n] * high[O][m];
            o += low[E][n] * high[O][m] + low[O][n] * high[E][m];
        }
        s.table[j][P][k] = p, s.table[j][F][k] = f, s.table[j][E][k] = e, s.table[j][O][k] = o;
    }
}

DEVICE void combine(Shared& s, const Turyn& turyn) {
    EACH(item, 195) {
        int j = item / 65, k = item % 65, c = k & 7, row = k & 56;
        double(&x)[4][64] = s.table[(j + 1) % 3], (&y)[4][64] = s.table[(j + 2) % 3], (&rest)[4][65] = s.rest[j];
        double p = 0, f = 0, e = 0, o = 0;
        if (k < 64)
            for (int a = 0; a < 8; a++) {
                double p0 = x[P][row + a], p1 = y[P][row + (a ^ c)];
                p += p0 * p1, f += p0 * y[F][row + (a ^ c)] + x[F][row + a] * p1;
            }
        if (k == 0) e = 1;
        if (0 < k && k < 8) e = x[E][k] + y[E][k], o = x[O][k] + y[O][k];
        if (8 <= k && k < 64) {
            const unsigned char *twos = turyn.twos[k >> 3], *fours = turyn.fours[k >> 3];
            for (int n = 0; n < 4; n++) {
                if (twos[n] == c)
                    for (int a = row; a < row + 8; a++) {
                        int b = row + ((a - row) ^ c);
                        e += x[E][a] * y[E][b] + x[O][a] * y[O][b], o += x[E][a] * y[O][b] + x[O][a] * y[E][b];
                    }
                if (fours[n] == c)
                    for (int m = 0; m < 4; m++) {
                        int a = row + twos[m], b = row + (twos[m] ^ c);
                        e += x[E][a] * y[E][b] + x[O][a] * y[O][b], o += x[E][a] * y[O][b] + x[O][a] * y[E][b];
                    }
            }
        }
        rest[P][k] = p, rest[F][k] = f, rest[E][k] = e, rest[O][k] = o;
    }
}

DEVICE void pairs(Shared& s) {  // the sum over pairs is half the sum of every entry's slope times the entry
    EACH(i, 24) {
        double others = 0;
        for (int k = 0; k < 24; k++)
            if (k != i) others += s.g[k][0] + s.g[k][8];
        s.slope[i][0] = s.slope[i][8] = others;
    }
}

DEVICE void add_up(Shared& s) {
    double(&x)[4][64] = s.table[0], (&y)[4][64] = s.table[1], (&z)[4][64] = s.table[2], (&rest)[4][65] = s.rest[2];
    EACH(k, 64) {
        double sum12 = rest[E][k] * z[E][k] + rest[O][k] * z[O][k];
        if (k < 8) sum12 += k ? x[E][k] * y[E][k] + x[O][k] * y[O][k] : x[E][0] + y[E][0];
        if (k < 24) sum12 += s.slope[k][0] * (s.g[k][0] + s.g[k][8]) / 2;
        s.part3[k] = rest[P][k] * z[F][k] + rest[F][k] * z[P][k];
        s.part12[k] = sum12;
    }
    for (int half = 32; half; half /= 2) {
        SYNC();
        EACH(k, half) s.part3[k] += s.part3[k + half], s.part12[k] += s.part12[k + half];
    }
}

DEVICE void unfold(Shared& s, const Turyn& turyn) {
    EACH(item, 96) {
        int half = item / 16, n = item % 16, h = half & 1;
        double(&other)[4][32] = s.tree[half ^ 1], (&rest)[4][65] = s.rest[half >> 1], (&d_tree)[4][32] = s.d_tree[half];
        double p = 0, f = 0, e = 0, o = 0;
        for (int side = 0; side < 8; side++) {
            int m = turyn.partners[n][side], k = turyn.partner_classes[0][h][n][side];
            p += rest[F][k] * other[P][m] + rest[P][k] * other[F][m], f += rest[P][k] * other[P][m];
            k = turyn.partner_classes[1][h][n][side];
            e += rest[E][k] * other[E][m] + rest[O][k] * other[O][m];
            o += rest[E][k] * other[O][m] + rest[O][k] * other[E][m];
        }
        d_tree[P][16 + n] = p, d_tree[F][16 + n] = f, d_tree[E][16 + n] = e, d_tree[O][16 + n] = o;
    }
}

DEVICE void ungrow(Shared& s) {
    for (int t = 3; t >= 0; t--) {
        SYNC();
        EACH(item, 6 << t) {
            int h = item >> t, n = (1 << t) + (item & ((1 << t) - 1)), m = 2 * n;
            double(&d)[4][32] = s.d_tree[h], *g = s.g[4 * h + t];
            double f0 = d[F][m], f1 = d[F][m + 1], e1 = d[E][m + 1], o1 = d[O][m + 1];
            d[P][n] = d[P][m] * g[5] + f0 * g[1] + d[P][m + 1] * g[3] + f1 * g[7];
            d[F][n] = f0 * g[5] + f1 * g[3];
            d[E][n] = d[E][m] + e1 * g[6] + o1 * g[2], d[O][n] = d[O][m] + o1 * g[6] + e1 * g[2];
        }
    }
    SYNC();
    EACH(item, 144) {  // six slopes a coordinate, each summed over the nodes of its level
        int i = item / 6, h = i / 4, t = i % 4, which = item % 6;
        double(&tree)[4][32] = s.tree[h], (&d)[4][32] = s.d_tree[h];
        double sum = 0;
        for (int n = 1 << t; n < 2 << t; n++) {
            int m = 2 * n;
            switch (which) {
                case 0: sum += d[P][m] * tree[P][n] + d[F][m] * tree[F][n]; break;
                case 1: sum += d[F][m] * tree[P][n]; break;
                case 2: sum += d[P][m + 1] * tree[P][n] + d[F][m + 1] * tree[F][n]; break;
                case 3: sum += d[F][m + 1] * tree[P][n]; break;
                case 4: sum += d[E][m + 1] * tree[E][n] + d[O][m + 1] * tree[O][n]; break;
                case 5: sum += d[E][m + 1] * tree[O][n] + d[O][m + 1] * tree[E][n]; break;
            }
        }
        s.slope[i][which == 0 ? 5 : which == 1 ? 1 : which == 2 ? 3 : which == 3 ? 7 : which == 4 ? 6 : 2] = sum;
    }
}

DEVICE void write_marginals(Shared& s, float* marginals) {
    double total = s.part3[0] + s.zero * s.part12[0];
    EACH(i, 24) {
        double others = 0;
        for (int v = 0; v < 9; v++)
            if (v != 4) {
                double share = s.g[i][v] * s.slope[i][v] * (v & 1 ? 1 / total : s.zero / total);
                marginals[9 * i + v] = (float)share, others += share;
            }
        marginals[9 * i + 4] = others < 1 ? (float)(1 - others) : 0.0f;
    }
}

DEVICE void evaluate(Shared& s, const float* scores, const Turyn& turyn, double* value, float* marginals) {
    EACH(n, 216) s.g[n / 9][n % 9] = exp((double)scores[n]);
    SYNC();
    take_out_zero(s);
    SYNC();
    grow(s);
    pairs(s);
    SYNC();
    fold(s, turyn);
    SYNC();
    combine(s, turyn);
    SYNC();
    add_up(s);
    SYNC();
    if (FIRST == 0) *value = log(s.part3[0] + s.zero * s.part12[0]);
    if (!marginals) return;
    unfold(s, turyn);
    ungrow(s);
    SYNC();
    write_marginals(s, marginals);
}

#ifdef HOST
extern "C" void log_partition(const float* scores, const Turyn* turyn, double* values, float* marginals, int count) {
    static Shared shared;
    for (int n = 0; n < count; n++)
        evaluate(shared, scores + 216 * n, *turyn, values + n, marginals ? marginals + 216 * n : nullptr);
}

extern "C" void nearest(const float* z, const Turyn* turyn, signed char* codes, int count) {
    static Search shared;
    for (int n = 0; n < count; n++) search(shared, z + 24 * n, *turyn, codes + 24 * n);
}
#else
// Grid: one block a token. values: (count,). marginals: (count, 24, 9), touched where wanted alone.
extern "C" __global__ void log_partition(
    const float* scores, const Turyn* turyn, double* values, float* marginals, int wanted) {
    __shared__ Shared shared;
    long long n = blockIdx.x;
    evaluate(shared, scores + 216 * n, *turyn, values + n, wanted ? marginals + 216 * n : nullptr);
}

// Grid: one block a token. z: (count, 24), rows finite and not zero. codes: (count, 24).
extern "C" __global__ void nearest(const float* z, const Turyn* turyn, signed char* codes) {
    __shared__ Search shared;
    long long n = blockIdx.x;
    search(shared, z + 24 * n, *turyn, codes + 24 * n);
}
#endif
