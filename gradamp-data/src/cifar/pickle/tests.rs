use proptest::prelude::*;

use super::*;

fn refusal(file: &[u8]) -> (usize, String) {
    let refusal = parse(file).unwrap_err();
    (refusal.offset, refusal.found)
}

#[test]
fn plain_data_is_built() {
    // {'a': [1, 300, -2], b'b': ()}, where the list is filled after it was put into the memo
    let file = b"\x80\x02}(U\x01a]q\x00K\x01ah\x00(M\x2c\x01J\xfe\xff\xff\xffe0".to_vec();
    assert_eq!(refusal(&file), (25, "opcode 0x30 '0'".into()));

    let file = b"\x80\x02}(U\x01a](K\x01M\x2c\x01J\xfe\xff\xff\xffeC\x01b)u.";
    let pickle = parse(file).unwrap();
    let Some(Value::List(items)) = pickle.get("a") else { panic!("{pickle:?}") };
    let numbers: Vec<i64> = items
        .iter()
        .map(|&id| match pickle.value(id) {
            Value::Int(n) => *n,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(numbers, [1, 300, -2]);
    assert!(matches!(pickle.get("b"), Some(Value::Tuple(items)) if items.is_empty()));
    assert!(pickle.get("c").is_none());
}

#[test]
fn a_list_that_grows_after_it_was_put_into_the_memo_stays_one_list() {
    // {b'x': l, b'y': l}, where l is read from the memo and gets its item through it
    let pickle = parse(b"\x80\x03}(C\x01x]q\x05C\x01yh\x05K\x07au.").unwrap();
    let [Some(Value::List(x)), Some(Value::List(y))] = [pickle.get("x"), pickle.get("y")] else {
        panic!("{pickle:?}")
    };
    assert_eq!((x.len(), x), (1, y));
}

#[test]
fn long_numbers_have_a_sign() {
    for (bytes, expected) in
        [(&b"\x00"[..], 0), (b"\x01\xff", -1), (b"\x02\xff\x00", 255), (b"\x02\x00\xff", -256)]
    {
        let file = [b"\x80\x02\x8a", bytes, b"."].concat();
        assert!(matches!(parse(&file).unwrap().root(), &Value::Int(n) if n == expected), "{bytes:?}");
    }
    assert_eq!(refusal(b"\x80\x02\x8a\x09").0, 3);
}

#[test]
fn unsupported_names_and_instructions_are_refused_with_their_offset() {
    assert_eq!(refusal(b"\x80\x02cos\nsystem\n."), (2, "the name os.system".into()));
    assert_eq!(refusal(b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93."), (18, "the name builtins.eval".into()));
    assert_eq!(refusal(b"\x80\x02(iposix\nsystem\n."), (3, "opcode 0x69 'i'".into()));
    assert_eq!(refusal(b"\x80\x02U\x01x)\x81."), (6, "opcode 0x81".into()));
    assert_eq!(refusal(b"\x80\x05\x97."), (2, "opcode 0x97".into()));
    assert_eq!(refusal(b"(lp0\n0"), (5, "opcode 0x30 '0'".into()));
    assert_eq!(refusal(b"lp0\n."), (0, "byte 0x6c".into()));
    assert_eq!(refusal(b""), (0, "an empty file".into()));
    assert_eq!(refusal(b"\x80\x07."), (0, "protocol 7".into()));
}

#[test]
fn a_supported_name_with_wrong_arguments_is_refused() {
    // _codecs.encode('x', 'hex'), numpy.dtype('O8', 0, 1), a call of the number 1, BUILD of a list
    assert!(parse(b"\x80\x02c_codecs\nencode\nX\x01\0\0\0xX\x03\0\0\0hex\x86R.").is_err());
    assert_eq!(refusal(b"\x80\x02cnumpy\ndtype\nX\x02\0\0\0O8K\0K\x01\x87R."), (27, "\"O8\"".into()));
    assert_eq!(refusal(b"\x80\x02K\x01)R."), (5, "the number 1 and a tuple of 0".into()));
    assert_eq!(refusal(b"\x80\x02]K\x01b."), (5, "the number 1".into()));
}

#[test]
fn an_array_must_have_the_bytes_of_its_shape() {
    let array = |shape: &[u8], bytes: &[u8]| {
        let mut file =
            b"\x80\x02cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\0\x85U\x01b\x87R(K\x01("
                .to_vec();
        shape.iter().for_each(|&d| file.extend([b'K', d]));
        file.extend(b"tcnumpy\ndtype\nU\x02u1K\0K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tb\x89U");
        file.push(bytes.len() as u8);
        file.extend(bytes);
        file.extend(b"tb.");
        file
    };
    let file = array(&[2, 3], b"abcdef");
    let pickle = parse(&file).unwrap();
    let Value::Array(read) = pickle.root() else { panic!("{pickle:?}") };
    assert_eq!(
        (&read.shape[..], read.fortran, pickle.bytes(read.bytes)),
        (&[2, 3][..], false, Some(&b"abcdef"[..]))
    );
    for bytes in [&b"abcde"[..], b"abcdefg"] {
        assert_eq!(parse(&array(&[2, 3], bytes)).unwrap_err().expected, "the bytes of shape [2, 3]");
    }
}

#[test]
fn one_text_cannot_be_decoded_many_times() {
    let mut file = b"\x80\x02c_codecs\nencode\nq\0X\x40\0\0\0".to_vec();
    file.extend([b'x'; 64]);
    file.extend(b"q\x01X\x06\0\0\0latin1q\x02\x86R");
    (0..100).for_each(|_| file.extend(b"h\0h\x01h\x02\x86R"));
    assert_eq!(parse(&file).unwrap_err().found, "more decoded text than the file holds");
}

#[test]
fn instructions_are_limited() {
    let file = [&b"\x80\x02"[..], &vec![b'N'; MAX_INSTRUCTIONS + 1]].concat();
    assert_eq!(parse(&file).unwrap_err().offset, MAX_INSTRUCTIONS);
}

proptest! {
    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse(&bytes);
        let _ = parse(&[b"\x80\x02", &bytes[..]].concat());
    }

    /// Valid instructions in random order reach more of the reader than random bytes.
    #[test]
    fn random_instructions_never_panic(program in prop::collection::vec(0usize..24, 0..60)) {
        const PARTS: [&[u8]; 24] = [
            b"N", b"\x88", b"K\x02", b"J\xff\xff\xff\xff", b"U\x01b", b"X\x02\0\0\0u1", b"(", b"}", b"]", b")", b"t",
            b"\x85", b"\x86", b"\x87", b"a", b"e", b"s", b"u", b"\x94", b"h\0", b"cnumpy\ndtype\n",
            b"cnumpy.core.multiarray\n_reconstruct\n", b"R", b"b",
        ];
        let mut file = b"\x80\x04".to_vec();
        program.iter().for_each(|&part| file.extend(PARTS[part]));
        file.push(b'.');
        let _ = parse(&file);
    }
}
