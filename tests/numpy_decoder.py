"""A decoder in numpy float64 by plain loops over tokens, heads and pairs, after the papers."""

import math

import numpy as np

from dopt.models import LinearScaling, Llama3Scaling


def logits(params, config, tokens, *, interleaved=False):
    """[T, vocabulary] for the tokens [T]; `interleaved` rotates 2i with 2i + 1 in each head."""
    embedding = array(params["embedding"])
    stream = [embedding[token].copy() for token in tokens]
    for layer in params["layers"]:
        layer = {name: array(value) for name, value in layer.items()}
        attend(layer, config, stream, interleaved)
        for x in stream:
            m = normed(x, layer["mlp_norm"], config.norm_eps)
            gate = layer["gate"] @ m
            x += layer["down"] @ (gate / (1 + np.exp(-gate)) * (layer["up"] @ m))
    head = embedding if config.tied else array(params["head"])
    return np.stack([head @ normed(x, array(params["norm"]), config.norm_eps) for x in stream])


def array(value):
    return np.asarray(value).astype(np.float64)


def normed(x, weight, eps):
    return weight * x / math.sqrt(sum(value**2 for value in x) / len(x) + eps)


def attend(layer, config, stream, interleaved):
    keys, values, outputs = [], [], []
    size, group = config.head_size, config.heads // config.kv_heads
    for position, x in enumerate(stream):
        n = normed(x, layer["attention_norm"], config.norm_eps)
        q, k, v = (layer[name] @ n for name in "qkv")
        if config.qkv_bias:
            q, k, v = q + layer["q_bias"], k + layer["k_bias"], v + layer["v_bias"]
        q, k, v = (list(a.reshape(-1, size)) for a in (q, k, v))
        if config.qk_norm:
            q = [normed(a, layer["q_norm"], config.norm_eps) for a in q]
            k = [normed(a, layer["k_norm"], config.norm_eps) for a in k]
        q = [turned(a, position, config, interleaved) for a in q]
        keys.append([turned(a, position, config, interleaved) for a in k])
        values.append(v)
        heads = []
        for h, query in enumerate(q):
            scores = [query @ key[h // group] / math.sqrt(size) for key in keys]
            weights = [math.exp(score - max(scores)) for score in scores]
            mixed = sum(w * v[h // group] for w, v in zip(weights, values, strict=True))
            heads.append(mixed / sum(weights))
        outputs.append(layer["o"] @ np.concatenate(heads))
    for x, output in zip(stream, outputs, strict=True):
        x += output


def turned(a, position, config, interleaved):
    out, half = a.copy(), config.head_size // 2
    for i in range(half):
        first, second = (2 * i, 2 * i + 1) if interleaved else (i, i + half)
        angle = position * frequency(i, config)
        out[first] = a[first] * math.cos(angle) - a[second] * math.sin(angle)
        out[second] = a[first] * math.sin(angle) + a[second] * math.cos(angle)
    return out


def frequency(i, config):
    plain = 1 / config.rope_theta ** (2 * i / config.head_size)
    scaling = config.scaling
    if isinstance(scaling, LinearScaling):
        return plain / scaling.factor
    if not isinstance(scaling, Llama3Scaling):
        return plain
    wavelength = 2 * math.pi / plain
    if wavelength > scaling.original_context / scaling.low:
        return plain / scaling.factor
    if wavelength < scaling.original_context / scaling.high:
        return plain
    ramp = scaling.original_context / wavelength - scaling.low
    ramp /= scaling.high - scaling.low
    return (1 - ramp) * plain / scaling.factor + ramp * plain
